"""Rows of CSV and JSON Lines, each with the byte offset at which reading can start again."""

import csv
import json
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, TypeAlias

from sampan.errors import DataError

Row: TypeAlias = tuple[int, tuple[Any, ...] | str]
"""Byte offset; the wanted cells, or why the row cannot be used."""

LONGEST_LINE = 2**26
LONGEST_CELL = 2**24


class Lines:
    """Decoded lines of a binary file, with the byte offset of the next one."""

    def __init__(self, file: Path, raw: IO[bytes], encoding: str) -> None:
        self._raw = raw
        self._encoding = encoding
        self.torn = False
        """Whether a line since this was last set to False is not in the encoding."""
        mark = raw.read(3)
        if mark[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{file}: it begins like UTF-16; convert it to UTF-8")
        self.offset = 0
        self.seek(3 if mark == b"\xef\xbb\xbf" else 0)

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._raw.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.offset += len(line)
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            self._skip_line()
            raise csv.Error(f"a line has more than {LONGEST_LINE // 2**20} MiB")
        try:
            return line.decode(self._encoding)
        except UnicodeDecodeError:
            self.torn = True
            return line.decode(self._encoding, "surrogateescape")

    def seek(self, offset: int) -> None:
        self._raw.seek(offset)
        self.offset = offset

    def _skip_line(self) -> None:
        while piece := self._raw.readline(LONGEST_LINE):
            self.offset += len(piece)
            if piece.endswith(b"\n"):
                return


def csv_rows(
    file: Path,
    raw: IO[bytes],
    wanted: tuple[str, ...],
    start: int,
    *,
    encoding: str,
    delimiter: str,
) -> Iterator[Row]:
    """Rows from byte `start` on (RFC 4180; blank lines are no rows); `DataError` for the header."""
    csv.field_size_limit(LONGEST_CELL)
    lines = Lines(file, raw, encoding)
    try:
        names = next(filter(None, csv.reader(lines, delimiter=delimiter, strict=True)), [])
    except csv.Error as fault:
        raise DataError(f"{file}: the header cannot be read: {fault}") from None
    places = places_of(file, names, wanted)
    pick = itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
    if start:
        lines.seek(start)
    lines.torn = False
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
            continue
        cells = pick(row)
        if lines.torn:
            lines.torn = False
            if not _is_text(cells):
                yield offset, not_in(encoding)
                continue
        yield offset, cells


def jsonl_rows(
    file: Path, raw: IO[bytes], wanted: tuple[str, ...], start: int, *, encoding: str
) -> Iterator[Row]:
    """
    Objects from byte `start` on (blank lines are no rows), null where one lacks a column.

    `DataError` at the end of a file that was read whole, where no row has a column.
    """
    lines = Lines(file, raw, encoding)
    if start:
        lines.seek(start)
    unseen = set(wanted)
    any_object = False
    while True:
        offset = lines.offset
        try:
            line = next(lines)
            if line.isspace():
                continue
            row = json.loads(line)
        except StopIteration:
            break
        except csv.Error as fault:
            yield offset, f"unreadable row: {fault}"
            continue
        except (ValueError, RecursionError) as fault:
            yield offset, f"not JSON: {fault}"
            continue
        if not isinstance(row, dict):
            yield offset, f"not a JSON object: {type(row).__name__}"
            continue
        any_object = True
        if unseen:
            unseen -= row.keys()
        cells = tuple(map(row.get, wanted))
        if (lines.torn or "\\u" in line) and not _is_text(cells):
            why = not_in(encoding) if lines.torn else "not text: half of a surrogate pair"
            yield offset, why
        else:
            yield offset, cells
        lines.torn = False
    if any_object and unseen and not start:
        missing = ", ".join(repr(name) for name in wanted if name in unseen)
        raise DataError(f"{file}: no row has the column {missing}")


def not_in(encoding: str) -> str:
    return f"not {encoding}: set the source's encoding, or convert the table"


def places_of(file: Path, names: list[str], wanted: tuple[str, ...]) -> list[int]:
    """The wanted columns' places; `DataError` where one is missing or there twice."""
    faults = [
        f"{file}: no column {name!r}; there are: {', '.join(names) or 'none'}"
        if names.count(name) == 0
        else f"{file}: {names.count(name)} columns are called {name!r}; one is allowed"
        for name in wanted
        if names.count(name) != 1
    ]
    if faults:
        raise DataError(faults)
    return [names.index(name) for name in wanted]


def _is_text(cells: tuple[Any, ...]) -> bool:
    """Whether all can be written as UTF-8: no bytes that did not decode, no lone surrogate."""
    try:
        json.dumps(cells, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
