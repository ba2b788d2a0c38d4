"""Tables: CSV, JSON Lines and Parquet, read in a stream."""

import csv
import glob
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Len

from sampan.errors import DataError
from sampan.plugins import Cells

if TYPE_CHECKING:
    import pyarrow.parquet as pq

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
LONGEST_CELL = 2**24


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
    """Only the rows whose columns have these values."""
    root: str | None = None
    """Folder that paths in the cells are relative to; by default the table's."""
    delimiter: Annotated[str, Len(1, 1)] | None = None
    """Of CSV; by default a comma, or a tab for .tsv."""
    encoding: str = "utf-8"
    """Of CSV and JSON Lines."""

    def files(self) -> list[Path]:
        found = (
            sorted(glob.glob(self.path), key=_natural) if _is_pattern(self.path) else [self.path]
        )
        if not found:
            raise DataError(
                f"{self.path}: no file matches; paths are relative to the working folder"
            )
        for path in map(Path, found):
            if not path.is_file():
                raise DataError(f"{path}: no such table; paths are relative to the working folder")
        return [Path(path) for path in found]

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
            yield from self._parquet(file, wanted, start, rows)
        else:
            with file.open("rb") as raw:
                read = self._csv if kind == "csv" else self._jsonl
                yield from self._batches(read(file, raw, wanted, start), columns, rows)

    def _format(self, file: Path) -> str:
        kind = self.format or FORMATS.get(file.suffix.lower())
        if kind is None:
            raise DataError(f"{file}: unknown format; set format: csv, jsonl or parquet")
        return kind

    def _batches(
        self,
        found: Iterator[tuple[int, dict[str, Any] | str]],
        columns: tuple[str, ...],
        rows: int,
    ) -> Iterator[Cells]:
        batch = Cells([], {name: [] for name in columns}, [], [])
        for offset, row in found:
            if isinstance(row, dict) and not self._is_wanted(row):
                continue
            if isinstance(row, str) and self.where:
                continue
            if isinstance(row, dict) and not all(map(_is_text, row.values())):
                row = f"not {self.encoding}: set the source's encoding, or convert the table"
            reason = row if isinstance(row, str) else None
            cells = {} if isinstance(row, str) else row
            batch.keys.append(_key(cells.get(self.key)))
            batch.reasons.append(reason)
            batch.offsets.append(offset)
            for name in columns:
                batch.columns[name].append(cells.get(name))
            if len(batch.keys) == rows:
                yield batch
                batch = Cells([], {name: [] for name in columns}, [], [])
        if batch.keys:
            yield batch

    def _is_wanted(self, row: dict[str, Any]) -> bool:
        return all(str(row.get(name)) == str(value) for name, value in self.where.items())

    def _csv(
        self, file: Path, raw: IO[bytes], wanted: tuple[str, ...], start: int
    ) -> Iterator[tuple[int, dict[str, Any] | str]]:
        csv.field_size_limit(LONGEST_CELL)
        delimiter = self.delimiter or ("\t" if file.suffix.lower() == ".tsv" else ",")
        lines = _Lines(raw, self.encoding)
        names = next(csv.reader(lines, delimiter=delimiter, strict=True), [])
        places = _places(file, names, wanted)
        if start:
            lines.seek(start)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            offset = lines.offset
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as fault:
                yield offset, f"unreadable row: {fault}"
                continue
            if not row:
                continue
            if len(row) != len(names):
                yield offset, f"ragged row: {len(row)} cells, the header has {len(names)}"
            else:
                yield offset, {name: row[place] for name, place in places.items()}

    def _jsonl(
        self, file: Path, raw: IO[bytes], wanted: tuple[str, ...], start: int
    ) -> Iterator[tuple[int, dict[str, Any] | str]]:
        lines = _Lines(raw, self.encoding)
        if start:
            lines.seek(start)
        seen: set[str] = set()
        while True:
            offset = lines.offset
            line = next(lines, None)
            if line is None:
                break
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as fault:
                yield offset, f"not JSON: {fault}"
                continue
            if not isinstance(row, dict):
                yield offset, f"not a JSON object: {type(row).__name__}"
                continue
            if not start and len(seen) < len(wanted):
                seen.update(name for name in wanted if name in row)
            yield offset, {name: row.get(name) for name in wanted}
        if seen and (missing := [name for name in wanted if name not in seen]):
            raise DataError(f"{file}: no row has the column {', '.join(missing)}")

    def _parquet(
        self, file: Path, wanted: tuple[str, ...], start: int, rows: int
    ) -> Iterator[Cells]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(file)
        except pa.ArrowInvalid as fault:
            raise DataError(f"{file}: not Parquet: {fault}") from None
        _places(file, table.schema_arrow.names, wanted)
        for offset, batch in _parquet_batches(table, wanted, start, rows):
            columns = {name: batch.column(name).to_pylist() for name in wanted}
            kept = [
                i
                for i in range(batch.num_rows)
                if self._is_wanted({name: columns[name][i] for name in self.where})
            ]
            if kept:
                yield Cells(
                    [_key(columns[self.key][i]) for i in kept],
                    {name: [values[i] for i in kept] for name, values in columns.items()},
                    [None] * len(kept),
                    [offset + i for i in kept],
                )


class _Lines:
    """Decoded lines of a binary file, with the byte offset of the next one."""

    def __init__(self, raw: IO[bytes], encoding: str) -> None:
        self._raw = raw
        self._encoding = encoding
        mark = raw.read(3)
        self.offset = 3 if mark == b"\xef\xbb\xbf" else 0
        raw.seek(self.offset)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._raw.readline()
        if not line:
            raise StopIteration
        self.offset += len(line)
        return line.decode(self._encoding, "surrogateescape")

    def seek(self, offset: int) -> None:
        self._raw.seek(offset)
        self.offset = offset


def _parquet_batches(
    table: "pq.ParquetFile", wanted: tuple[str, ...], start: int, rows: int
) -> Iterator[tuple[int, Any]]:
    """Record batches from row `start` on, with the row number of their first row."""
    at = 0
    for group in range(table.num_row_groups):
        size = table.metadata.row_group(group).num_rows
        if at + size > start:
            skip = max(0, start - at)
            offset = at
            for batch in table.iter_batches(rows, row_groups=[group], columns=list(wanted)):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                elif batch.num_rows:
                    yield offset + skip, batch.slice(skip)
                    skip = 0
                offset += batch.num_rows
        at += size


def _places(file: Path, names: list[str], wanted: tuple[str, ...]) -> dict[str, int]:
    """Column → its place; `DataError` where one is missing or there twice."""
    faults = [
        f"{file}: no column {name!r}; there are: {', '.join(names) or 'none'}"
        if names.count(name) == 0
        else f"{file}: {names.count(name)} columns are called {name!r}"
        for name in wanted
        if names.count(name) != 1
    ]
    if faults:
        raise DataError(faults)
    return {name: names.index(name) for name in wanted}


def _key(value: Any) -> str:
    return "" if value is None else str(value)


def _is_text(value: Any) -> bool:
    """Whether a cell can be written as UTF-8: no bytes that did not decode, no lone surrogate."""
    if not isinstance(value, str) or value.isascii():
        return True
    return not any("\ud800" <= sign <= "\udfff" for sign in value)


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in "*?[") and not Path(path).exists()


def _natural(path: str) -> list[tuple[int, str]]:
    """Sort key under which part-10 follows part-9."""
    return [(int(text), "") if text.isdigit() else (-1, text) for text in re.split(r"(\d+)", path)]
