"""
Rows of CSV and its kin, each with the byte offset at which reading can start again.

Tables that do not quote look like those that do until a cell begins with a quote: then rows would
go missing inside of one cell. So a row of several lines is looked at twice, see `_Continued`.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

from sampan.errors import DataError
from sampan.sources.columns import places_of
from sampan.sources.json_lines import old_line_ends
from sampan.sources.lines import Lines, Row, is_text, not_in

LONGEST_CELL = 2**24
MOST_LINES = 1_000
"""Lines that one row may have."""

Quote: TypeAlias = Literal["auto", '"', "none"]

_LONE_RETURN = re.compile(r"\r(?=[^\r\n])")
_UNQUOTE = "set quote: none, if the table does not quote"
OPEN_QUOTE = f"a quote opens a cell and does not close in this row: {_UNQUOTE}"


@dataclass(frozen=True)
class Dialect:
    """How the cells of a line are told apart."""

    encoding: str
    delimiter: str
    quote: Quote

    def reader(self, lines: "Lines | list[str]") -> Any:
        if self.quote == "none":
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE, strict=True)
        return csv.reader(lines, delimiter=self.delimiter, strict=True)


def csv_rows(
    file: Path,
    raw: IO[bytes],
    wanted: tuple[str, ...],
    start: int,
    dialect: Dialect,
) -> Iterator[Row]:
    """
    Rows from byte `start` on (RFC 4180; blank lines are no rows); the first wanted is the key.

    A file without a header has no rows. `DataError`: a column is missing, the header cannot be
    read, or nobody can tell whether several lines are one row or several.
    """
    csv.field_size_limit(LONGEST_CELL)
    lines = Lines(file, raw, dialect.encoding)
    names = _header(file, lines, dialect)
    if not names:
        return
    places = places_of(file, names, wanted)
    pick = itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
    if start:
        lines.seek(start)
    lines.torn = False
    continued = _Continued(file, lines, dialect, len(names), places[0])
    reader = dialect.reader(lines)
    count = seen = 0
    while True:
        offset = lines.offset
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            yield offset, continued.fault(offset, fault, None if start else count)
            lines.torn = False
            reader, seen = dialect.reader(lines), 0
            count += 1
            continue
        seen += 1
        if reader.line_num != seen:
            seen, num_lines = reader.line_num, reader.line_num - seen + 1
            if why := continued.check(offset, row, num_lines, None if start else count):
                yield offset, why
                lines.torn = False
                reader, seen = dialect.reader(lines), 0
                count += 1
                continue
        if not row:
            continue
        count += 1
        if len(row) != len(names):
            yield offset, f"ragged row: {len(row)} cells, the header has {len(names)}"
            continue
        cells = pick(row)
        if lines.torn:
            lines.torn = False
            if not is_text(cells):
                yield offset, not_in(dialect.encoding)
                continue
        yield offset, cells


def _header(file: Path, lines: Lines, dialect: Dialect) -> list[str]:
    """Names of the columns; none where the file holds blank lines at most."""
    begin = lines.offset
    reader = dialect.reader(lines)
    try:
        names: list[str] = next(filter(None, reader), [])
    except csv.Error as fault:
        if any(_LONE_RETURN.search(line) for _, line in lines.between(begin, lines.offset, 10)):
            raise DataError(old_line_ends(file)) from None
        raise DataError(f"{file}: the header cannot be read: {_reason(fault)}") from None
    spread = [name for name in names if "\n" in name and dialect.delimiter in name]
    if spread and dialect.quote == "auto":
        raise DataError(
            f"{file}: a quote opens in the header and closes {reader.line_num} lines further on; "
            f"{_UNQUOTE}, or quote: '\"' if that is one name"
        )
    return names


@dataclass
class _Continued:
    """
    What to make of rows of several lines.

    Where the lines after the first look like rows of their own (as many cells, and a key like the
    first one's), the first line's quote is a sign like any other. If it does not close properly,
    the first line is a bad row and reading goes on at the second. If it does close, nobody can
    tell: `DataError`, unless the table is said to quote.
    """

    file: Path
    lines: Lines
    dialect: Dialect
    num_cells: int
    key_place: int

    def check(self, offset: int, cells: list[str], num_lines: int, row: int | None) -> str | None:
        """Whether what was read from several lines, from `offset` on, may be one row."""
        if num_lines <= MOST_LINES and (
            self.dialect.quote != "auto" or not self._may_be_rows(cells)
        ):
            return None
        found = self.lines.between(offset, self.lines.offset, MOST_LINES + 1)
        if num_lines > MOST_LINES:
            return self._too_long(offset, row, found)
        if self._are_rows(found):
            raise DataError(
                f"{self._place(offset, row)}: a quote opens a cell that goes on for {len(found)} "
                f"lines, which look like rows of their own; {_UNQUOTE}, or quote: '\"' if these "
                "lines are one cell"
            )
        return None

    def fault(self, offset: int, fault: csv.Error, row: int | None) -> str:
        """Why what begins at `offset` is a bad row; sets the lines to where to go on."""
        found = self.lines.between(offset, self.lines.offset, MOST_LINES + 1)
        if len(found) > 1 and self._are_rows(found):
            self.lines.seek(found[1][0])
            return OPEN_QUOTE
        if len(found) > MOST_LINES:
            return self._too_long(offset, row, found)
        if _LONE_RETURN.search(found[-1][1]):
            pieces = [piece for piece in re.split(r"[\r\n]+", found[-1][1]) if piece]
            if self._are_rows([(0, piece) for piece in pieces]):
                raise DataError(f"{self._place(offset, row)}: {old_line_ends(self.file)}")
            return "unreadable row: a carriage return stands in a cell without quotes"
        return f"unreadable row: {_reason(fault)}"

    def _too_long(self, offset: int, row: int | None, found: list[tuple[int, str]]) -> str:
        if self._are_rows(found):
            self.lines.seek(found[1][0])
            return OPEN_QUOTE
        raise DataError(
            f"{self._place(offset, row)}: a quote opens a cell that goes on for more than "
            f"{MOST_LINES:,} lines; {_UNQUOTE}, or close it"
        )

    def _may_be_rows(self, cells: list[str]) -> bool:
        """
        Whether a line of a cell may be a row: where it ends with a row, it has as many delimiters
        as there are before the cell, or the cells are too many or too few.
        """
        if len(cells) != self.num_cells:
            return True
        for place, cell in enumerate(cells):
            if "\n" in cell and cell.count(self.dialect.delimiter) >= place:
                return True
        return False

    def _are_rows(self, found: list[tuple[int, str]]) -> bool:
        """Whether half of the lines after the first, or more, look like rows of their own."""
        texts = [text for _, text in found if text.strip()]
        key = self._cells(texts[0])[self.key_place : self.key_place + 1] if texts else []
        like = sum(self._is_row(text, key[0] if key else "") for text in texts[1:])
        return like > 0 and 2 * like >= len(texts) - 1

    def _is_row(self, text: str, key: str) -> bool:
        plain = text.rstrip("\r\n").split(self.dialect.delimiter)
        cells = plain if len(plain) == self.num_cells else self._cells(text)
        if len(cells) != self.num_cells:
            return False
        own, key = cells[self.key_place].strip(' "'), key.strip(' "')
        if key.isdecimal():  # of hexadecimal keys, too, some are
            return " " not in own and any(map(str.isdecimal, own))
        return bool(own) and (" " in key or " " not in own)

    def _cells(self, text: str) -> list[str]:
        line = text.rstrip("\r\n")
        if '"' not in line:
            return line.split(self.dialect.delimiter)
        try:
            cells: list[str] = next(self.dialect.reader([line]), [])
        except csv.Error:
            cells = line.split(self.dialect.delimiter)
        return cells

    def _place(self, offset: int, row: int | None) -> str:
        if row is None:
            return f"{self.file}: the row at byte {offset:,}"
        return f"{self.file}: row {row:,}, counting from 0 (key {self._key(offset)})"

    def _key(self, offset: int) -> str:
        (_, text), *_ = self.lines.between(offset, offset + 200, 1)
        cells = self._cells(text)
        return repr(cells[self.key_place][:40]) if self.key_place < len(cells) else "unknown"


def _reason(fault: csv.Error) -> str:
    text = str(fault)
    if "expected after" in text:
        return f"text follows a closing quote; {_UNQUOTE}"
    if text.startswith("unexpected end"):
        return f"a quote opens and the file ends before it closes; {_UNQUOTE}"
    return text
