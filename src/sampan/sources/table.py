"""Tables: CSV, JSON Lines and Parquet, read in a stream."""

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any, ClassVar, Literal

from annotated_types import Len

from sampan.errors import DataError
from sampan.plugins import Cells
from sampan.sources.lines import Row, csv_rows, jsonl_rows
from sampan.sources.parquet import parquet_batches

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """One file or several; a row is a sample, its columns hold paths or values."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }

    path: str
    """A file, or a pattern such as `tables/*.csv`, whose files are taken in natural order."""
    key: str
    """Column with the samples' keys: text or numbers, no two alike."""
    format: Literal["csv", "jsonl", "parquet"] | None = None
    """By default what the file's name says."""
    where: dict[str, str | int | bool] = field(default_factory=dict)
    """Only the rows whose columns have these values; rows that cannot be parsed are kept."""
    root: str | None = None
    """Folder that paths in the cells are relative to; by default the table's."""
    delimiter: Annotated[str, Len(1, 1)] | None = None
    """Of CSV; by default a comma, or a tab for .tsv."""
    encoding: str = "utf-8"
    """Of CSV and JSON Lines; one in which a line feed is one byte."""

    def __post_init__(self) -> None:
        try:
            plain = "\n".encode(self.encoding) == b"\n"
        except LookupError:
            raise ValueError(
                f"encoding: {self.encoding!r} is unknown; set one such as utf-8 or latin-1"
            ) from None
        if not plain:
            raise ValueError(
                f"encoding: in {self.encoding!r} a line feed is not one byte; convert the table to "
                "UTF-8, where a byte order mark is dropped"
            )

    def files(self) -> list[Path]:
        found = [self.path]
        if _is_pattern(self.path):
            found = sorted(glob.glob(self.path, recursive=True), key=_natural)
        if not found:
            raise DataError(
                f"{self.path}: no file matches; paths are relative to the working folder"
            )
        paths = [Path(path) for path in found]
        if missing := [path for path in paths if not path.is_file()]:
            raise DataError(
                [
                    f"{path}: no such table; paths are relative to the working folder"
                    for path in missing
                ]
            )
        return paths

    def root_of(self, file: Path) -> Path:
        return Path(self.root) if self.root is not None else file.parent

    def stamp(self, file: Path) -> str:
        """What changes with a file whose rows a scan does not read whole: Parquet's."""
        if self._format(file) != "parquet":
            return ""
        about = file.stat()
        return f"{about.st_size}-{about.st_mtime_ns}"

    def read(
        self, file: Path, columns: tuple[str, ...], *, start: int = 0, rows: int = 8192
    ) -> Iterator[Cells]:
        """
        Batches of at most `rows` rows, from an offset that an earlier read gave.

        A row that cannot be parsed keeps its place, with a reason and an empty key. `DataError`: a
        column is missing, or the file is not of its format.
        """
        kind = self._format(file)
        wanted = tuple(dict.fromkeys((self.key, *columns, *self.where)))
        if kind == "parquet":
            for first, found in parquet_batches(file, wanted, start, rows):
                yield from self._parquet(first, found, columns)
        else:
            with file.open("rb") as raw:
                found_rows = self._rows(file, raw, kind, wanted, start)
                yield from self._text(found_rows, wanted, columns, rows)

    def _format(self, file: Path) -> str:
        kind = self.format or FORMATS.get(file.suffix.lower())
        if kind is None:
            raise DataError(f"{file}: unknown format; set format: csv, jsonl or parquet")
        return kind

    def _rows(
        self, file: Path, raw: IO[bytes], kind: str, wanted: tuple[str, ...], start: int
    ) -> Iterator[Row]:
        if kind == "jsonl":
            found = jsonl_rows(file, raw, wanted, start, encoding=self.encoding)
        else:
            delimiter = self.delimiter or ("\t" if file.suffix.lower() == ".tsv" else ",")
            found = csv_rows(file, raw, wanted, start, encoding=self.encoding, delimiter=delimiter)
        if not self.where:
            return found
        conditions = [(wanted.index(name), value) for name, value in self.where.items()]
        return (
            (offset, row)
            for offset, row in found
            if isinstance(row, str)
            or all(_equals(row[place], value) for place, value in conditions)
        )

    def _text(
        self, found: Iterator[Row], wanted: tuple[str, ...], columns: tuple[str, ...], rows: int
    ) -> Iterator[Cells]:
        blank = (None,) * len(wanted)
        while batch := list(islice(found, rows)):
            reasons = [row if isinstance(row, str) else None for _, row in batch]
            cells = [blank if isinstance(row, str) else row for _, row in batch]
            by_name = dict(zip(wanted, map(list, zip(*cells, strict=True)), strict=True))
            yield Cells(
                list(map(_key, by_name[self.key])),
                {name: by_name[name] for name in columns},
                reasons,
                [offset for offset, _ in batch],
            )

    def _parquet(
        self, first: int, found: dict[str, list[Any]], columns: tuple[str, ...]
    ) -> Iterator[Cells]:
        kept = list(range(len(found[self.key])))
        for name, value in self.where.items():
            kept = [i for i in kept if _equals(found[name][i], value)]
        if kept:
            yield Cells(
                [_key(found[self.key][i]) for i in kept],
                {name: [found[name][i] for i in kept] for name in columns},
                [None] * len(kept),
                [first + i for i in kept],
            )


def _key(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _equals(cell: Any, value: str | int | bool) -> bool:
    """Whether a cell holds a value, as it is written; `true` and `True` are the same."""
    if isinstance(value, bool):
        return _key(cell).lower() == str(value).lower()
    return _key(cell) == str(value)


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in "*?[") and not Path(path).exists()


def _natural(path: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key under which part-10 follows part-9."""
    parts = re.split(r"(\d+)", path)
    return [(int(text), "") if i % 2 else (-1, text) for i, text in enumerate(parts)], path
