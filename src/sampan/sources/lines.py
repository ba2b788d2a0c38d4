"""Lines of a text file, each with the byte offset at which reading can start again."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

from sampan.errors import DataError

Row: TypeAlias = tuple[int, tuple[Any, ...] | str]
"""Byte offset; the wanted cells, or why the row cannot be used."""

LONGEST_LINE = 2**26
_UTF8_MARK = b"\xef\xbb\xbf"


class Lines:
    """
    Decoded lines of a binary file, with the byte offset of the next one.

    A line that is too long is skipped and raises `csv.Error`: iterate anew for the next.
    """

    def __init__(self, file: Path, raw: IO[bytes], encoding: str) -> None:
        self._raw = raw
        self._encoding = encoding
        self.torn = False
        """Whether a line since this was last set to False is not in the encoding."""
        mark = raw.read(3)
        if mark[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{file}: it begins like UTF-16; convert it to UTF-8")
        self.offset = 0
        self.seek(3 if mark == _UTF8_MARK else 0)

    def __iter__(self) -> Iterator[str]:
        readline, encoding, longest = self._raw.readline, self._encoding, LONGEST_LINE
        while line := readline(longest):
            self.offset += len(line)
            if len(line) == longest and not line.endswith(b"\n"):
                self._skip_line()
                raise csv.Error(f"a line has more than {longest // 2**20} MiB")
            try:
                text = line.decode(encoding)
            except UnicodeError:
                self.torn = True
                text = line.decode("ascii", "surrogateescape")
            yield text

    def seek(self, offset: int) -> None:
        self._raw.seek(offset)
        self.offset = offset

    def between(self, start: int, stop: int, most: int) -> list[tuple[int, str]]:
        """
        Lines from byte `start` to `stop`, at most so many, each with its offset; places unchanged.
        """
        found: list[tuple[int, str]] = []
        place = self._raw.tell()
        self._raw.seek(start)
        while start < stop and len(found) < most:
            line = self._raw.readline(min(LONGEST_LINE, stop - start))
            found.append((start, line.decode(self._encoding, "replace")))
            start += len(line)
        self._raw.seek(place)
        return found

    def _skip_line(self) -> None:
        while piece := self._raw.readline(LONGEST_LINE):
            self.offset += len(piece)
            if piece.endswith(b"\n"):
                return


def not_in(encoding: str) -> str:
    return f"not {encoding}: set the source's encoding, or convert the table"


def is_text(cells: tuple[Any, ...]) -> bool:
    """Whether all can be written as UTF-8: no bytes that did not decode, no lone surrogate."""
    try:
        json.dumps(cells, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
