"""Tables: CSV, JSON Lines and Parquet, read in a stream."""

import codecs
import dataclasses
import glob
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO, Annotated, Any, ClassVar, Literal

from annotated_types import Len

from sampan.errors import DataError, InvalidSample
from sampan.formats import HEAD_BYTES, PARQUET, described, is_no_text, recognised
from sampan.plugins import Cells
from sampan.sources.delimited import Dialect, Quote, csv_rows
from sampan.sources.json_lines import jsonl_rows
from sampan.sources.lines import Row
from sampan.sources.parquet import (
    BATCH_BYTES,
    Batch,
    nested,
    opened,
    parquet_batches,
    paths_of,
)
from sampan.sources.values import label_of, text_of

UNPACK = {
    "gzip-compressed": "gunzip -k",
    "bzip2-compressed": "bunzip2 -k",
    "xz-compressed": "unxz -k",
    "zstd-compressed": "unzstd",
    "LZ4-compressed": "unlz4",
    "a tar archive": "tar -xf",
    "a 7-Zip archive": "7z x",
}
"""Format → the command that takes a file of it apart."""
FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
LOOKED_AT = 100_000
"""Rows in which `why_no_rows` looks for what a column holds."""


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
    """
    Column with the samples' keys: text or numbers, no two alike. Here and wherever a column is
    named, dots lead into objects (JSON) and structs (Parquet): `meta.lang`.
    """
    format: Literal["csv", "jsonl", "parquet"] | None = None
    """By default what the file's name says."""
    where: dict[str, str | int | bool] = field(default_factory=dict)
    """Only the rows whose columns have these values; rows that cannot be parsed are kept."""
    root: str | None = None
    """Folder that paths in the cells are relative to; by default the table's."""
    delimiter: Annotated[str, Len(1, 1)] | None = None
    """Of CSV; by default a comma, or a tab for .tsv."""
    quote: Quote = "auto"
    """
    Of CSV: `none` where a quote is a sign like any other, as in most tables of tabs; `'"'` where
    cells are quoted as in RFC 4180. `auto` reads RFC 4180, and stops where a quoted cell of several
    lines looks like rows of their own.
    """
    na: list[str] = field(default_factory=list)
    """
    Texts that mean that there is no value, such as `[NA, nan, "-"]`: in labels, groups, splits and
    cells, never in keys and `where`. An empty cell, a null and a NaN always mean it.
    """
    encoding: str = "utf-8"
    """Of CSV and JSON Lines; one in which a line feed is one byte."""

    def __post_init__(self) -> None:
        if self.delimiter in ('"', "\n", "\r", "\0"):
            raise ValueError(
                f"delimiter: {self.delimiter!r} cannot part cells; set one such as ';'"
            )
        try:
            plain = "\n".encode(self._codec) == b"\n"
        except (LookupError, UnicodeError):
            raise ValueError(
                f"encoding: {self.encoding!r} is unknown; set one such as utf-8 or latin-1"
            ) from None
        if not plain:
            raise ValueError(
                f"encoding: in {self.encoding!r} a line feed is not one byte; convert the table to "
                "UTF-8, where a byte order mark is dropped"
            )

    def files(self) -> list[Path]:
        if "://" in self.path:
            raise DataError(
                f"{self.path}: a URL, not a path; download it first, for jobs have no network"
            )
        found = [self.path]
        if _is_pattern(self.path):
            found = sorted(glob.glob(self.path, recursive=True), key=_natural)
        if not found:
            raise DataError(
                f"{self.path}: no file matches; paths are relative to the working folder"
            )
        paths = [Path(path) for path in found]
        if missing := [path for path in paths if not path.is_file()]:
            raise DataError([_why_no_table(path) for path in missing])
        return paths

    def root_of(self, file: Path) -> Path:
        return Path(self.root) if self.root is not None else file.parent

    def stamp(self, file: Path) -> str:
        """What changes with a file whose rows a scan does not read whole: Parquet's."""
        if self._format(file) != "parquet":
            return ""
        about = file.stat()
        return f"{about.st_size}-{about.st_mtime_ns}"

    def type_faults(self, file: Path, columns: Mapping[str, str]) -> list[str]:
        """Of Parquet: a line for each use whose column holds lists or objects, as its type says."""
        if self._format(file) != "parquet":
            return []
        with opened(file) as table:
            paths = paths_of(file, table.schema_arrow, list(columns.values()))
            return [
                f"{use}: column {name!r} of {file} holds lists or objects, where one text or "
                "number is needed; name another column, or a field with dots, such as meta.lang"
                for use, name in columns.items()
                if nested(table.schema_arrow, paths[name])
            ]

    def why_no_rows(self) -> list[str]:
        """Lines that say why no file holds a row that is wanted."""
        seen = {name: Counter[str]() for name in self.where}
        met: set[str] = set()
        rows = 0
        plain = dataclasses.replace(self, where={})
        for file in self.files():
            for cells in plain.read(file, tuple(self.where)):
                rows += len(cells.keys)
                for name, values in cells.columns.items():
                    seen[name].update(map(_shown, values))
                    if any(_equals(value, self.where[name]) for value in values):
                        met.add(name)
                if rows >= LOOKED_AT:
                    break
        if not rows:
            return [f"{self.path}: no rows; it is empty, or holds a header at most"]
        return [
            f"{self.path}: {_unmet(name, value, seen[name])}"
            for name, value in self.where.items()
            if name not in met
        ] or [f"{self.path}: where: no row has all of {self.where}"]

    def read(
        self, file: Path, columns: tuple[str, ...], *, start: int = 0, rows: int = 8192
    ) -> Iterator[Cells]:
        """
        Batches of at most `rows` rows and about 16 MiB, from an offset that an earlier read gave.

        A row that cannot be parsed keeps its place, with a reason and an empty key. `DataError`: a
        column is missing, or the file is not of its format.
        """
        kind = self._format(file)
        wanted = tuple(dict.fromkeys((self.key, *columns, *self.where)))
        if kind == "parquet":
            self._refuse_nested(file)
            for batch in parquet_batches(file, wanted, start, rows):
                yield from self._parquet(batch, columns)
        else:
            with file.open("rb") as raw:
                found_rows = self._rows(file, raw, kind, wanted, start)
                yield from self._text(found_rows, wanted, columns, rows)

    def _format(self, file: Path) -> str:
        kind = self.format or FORMATS.get(file.suffix.lower())
        with file.open("rb") as raw:
            head = raw.read(HEAD_BYTES)
        if is_no_text(head) and not (kind == "parquet" and recognised(head) is PARQUET):
            raise DataError(f"{file}: {_advised(file, head)}")
        if kind is None:
            raise DataError(f"{file}: unknown format; set format: csv, jsonl or parquet")
        return kind

    def _refuse_nested(self, file: Path) -> None:
        uses = {"key": self.key} | {f"where.{name}": name for name in self.where}
        if faults := self.type_faults(file, uses):
            raise DataError(faults)

    def _rows(
        self, file: Path, raw: IO[bytes], kind: str, wanted: tuple[str, ...], start: int
    ) -> Iterator[Row]:
        if kind == "jsonl":
            found = jsonl_rows(file, raw, wanted, start, encoding=self._codec)
        else:
            delimiter = self.delimiter or ("\t" if file.suffix.lower() == ".tsv" else ",")
            dialect = Dialect(self._codec, delimiter, self.quote)
            found = csv_rows(file, raw, wanted, start, dialect)
        if not self.where:
            return found
        conditions = [(wanted.index(name), value) for name, value in self.where.items()]
        return (
            (offset, row)
            for offset, row in found
            if isinstance(row, str)
            or all(_equals(row[place], value) for place, value in conditions)
        )

    @property
    def _codec(self) -> str:
        name = codecs.lookup(self.encoding).name
        return "utf-8" if name == "utf-8-sig" else name

    def _text(
        self, found: Iterator[Row], wanted: tuple[str, ...], columns: tuple[str, ...], rows: int
    ) -> Iterator[Cells]:
        blank = (None,) * len(wanted)
        for batch in _batches(found, rows):
            reasons = [row if isinstance(row, str) else None for _, row in batch]
            cells = [blank if isinstance(row, str) else row for _, row in batch]
            by_name = dict(zip(wanted, map(list, zip(*cells, strict=True)), strict=True))
            yield Cells(
                _keys(by_name[self.key], reasons),
                {name: self._present(by_name[name]) for name in columns},
                reasons,
                [offset for offset, _ in batch],
            )

    def _parquet(self, batch: Batch, columns: tuple[str, ...]) -> Iterator[Cells]:
        found = batch.columns
        reasons: list[str | None] = [None] * batch.rows
        kept: Sequence[int] = range(batch.rows)
        # Which rows are kept must not depend on the columns that are read beside these.
        unknown = {row for name in (self.key, *self.where) for row in batch.faults.get(name, ())}
        for name, value in self.where.items():
            kept = [i for i in kept if i in unknown or _equals(found[name][i], value)]
        for rows in batch.faults.values():
            for row, why in rows.items():
                reasons[row] = reasons[row] or why
        if not kept:
            return
        if self.where:
            reasons = [reasons[i] for i in kept]
            found = {name: [values[i] for i in kept] for name, values in found.items()}
        yield Cells(
            _keys(found[self.key], reasons),
            {name: self._present(found[name]) for name in columns},
            reasons,
            [batch.first + i for i in kept],
        )

    def _present(self, values: list[Any]) -> list[Any]:
        """The values, None in place of those that mean that there is none."""
        if not self.na:
            return values
        return [None if self._is_na(value) else value for value in values]

    def _is_na(self, value: Any) -> bool:
        """Whether it is one of `na` as it is written, or as labels are."""
        if not isinstance(value, str | int | float | Decimal):
            return False
        return str(value) in self.na or label_of(value) in self.na


def _batches(found: Iterator[Row], rows: int) -> Iterator[list[Row]]:
    """At most so many rows, and of long rows so few that they begin within 16 MiB."""
    batch: list[Row] = []
    stop = 0
    for item in found:
        if not batch:
            stop = item[0] + BATCH_BYTES
        batch.append(item)
        if len(batch) == rows or item[0] >= stop:
            yield batch
            batch = []
    if batch:
        yield batch


def _keys(values: list[Any], reasons: list[str | None]) -> list[str]:
    """Keys as text, empty where there is none; those that have no text get a reason."""
    found = []
    for row, value in enumerate(values):
        if not isinstance(value, str):
            try:
                value = text_of(value) or ""
            except InvalidSample as verdict:
                reasons[row], value = f"unusable key: {verdict}", ""
        found.append(value)
    return found


def _equals(cell: Any, value: str | int | bool) -> bool:
    """Whether a cell holds a value, as it is written; `true` and `True` are the same."""
    if isinstance(cell, bool) or isinstance(value, bool):
        return str(cell).lower() == str(value).lower()
    if isinstance(cell, int | float) and isinstance(value, int):
        return cell == value
    try:
        return (text_of(cell) or "") == str(value)
    except InvalidSample:
        return False


def _shown(value: Any) -> str:
    """A value as one would have to write it in quotes, shortened."""
    try:
        return repr((text_of(value) or "")[:60])
    except InvalidSample:
        return "a list or an object"


def _unmet(name: str, value: str | int | bool, seen: Counter[str]) -> str:
    """Why no cell of a column has a value that is asked for: what the most of them hold."""
    common = [f"{text} ({times:,})" for text, times in seen.most_common(5)]
    holds = ", ".join(common) + (", …" if len(seen) > len(common) else "")
    if isinstance(value, str):
        return f"where: {name} is the text {value!r}, and the column holds {holds}"
    (first, _), *_ = seen.most_common(1)
    return (
        f"where: {name} is read by YAML as {value!r}, and the column holds {holds}; without quotes "
        "YAML takes words such as no and numbers such as 010 for something else: write the value "
        f"as the table has it, in quotes, such as where: {{{name}: {first}}}"
    )


def _why_no_table(path: Path) -> str:
    if path.is_dir():
        endings = Counter(file.suffix for file in path.iterdir() if file.suffix.lower() in FORMATS)
        ending = endings.most_common(1)[0][0] if endings else ".csv"
        return f"{path}: a folder, not a table; name its files, such as {path}/*{ending}"
    if path.exists():
        return f"{path}: no file but a device, a pipe or the like"
    return f"{path}: no such table; paths are relative to the working folder"


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in "*?[") and not Path(path).exists()


def _natural(path: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key under which part-10 follows part-9."""
    parts = re.split(r"(\d+)", path)
    return [(int(text), "") if i % 2 else (-1, text) for i, text in enumerate(parts)], path


def _advised(file: Path, head: bytes) -> str:
    """What a file is that is no table, and what would help."""
    known = recognised(head)
    if command := UNPACK.get(known.name if known else ""):
        return (
            f"{described(head, 'table').partition(';')[0]}; jobs read a table from its middle on, "
            f"which that does not allow; unpack it: {command} {shlex.quote(str(file))}"
        )
    return described(head, "table")
