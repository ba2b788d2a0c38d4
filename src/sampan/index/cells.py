"""
Where one sample's value lies, and the one way from there to its bytes.

What the index stores is the short text form of a cell, or bytes; `CellReader.cell` makes a typed
cell of it, and `read` its content, with the limits, the roots and the retries of `SampleFiles`. A
further kind of cell is a class here, a form in `cell`, and a branch in `read` and in `size`.
"""

import binascii
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from sampan.errors import InvalidSample
from sampan.index.parts import IndexPart
from sampan.index.sample_files import Content, SampleFiles

How = Literal["path", "value", "base64"]
"""What the text of a cell is: a path, the value itself, or the value in base64."""

SPACE = b" \t\r\n"
URI_HEAD = 256
"""Bytes of a `data:` URI at most before its comma."""


class Value(NamedTuple):
    """The value itself, which the table holds; text is taken as UTF-8."""

    held: str | bytes


class Base64(NamedTuple):
    """The value in base64, which the table holds."""

    held: str | bytes


class FilePath(NamedTuple):
    """A whole file; its path is relative to a root of the index."""

    root: int
    path: str


Cell = Value | Base64 | FilePath


@dataclass(frozen=True)
class CellReader:
    """Content of cells, whose text is taken as `how` says."""

    files: SampleFiles
    how: How

    @classmethod
    def of(cls, part: IndexPart, how: How, max_bytes: int, patience_seconds: float) -> Self:
        """For the cells of one partition of the index."""
        return cls(SampleFiles(part.roots, max_bytes, patience_seconds, part.allow), how)

    def cell(self, root: int, stored: str | bytes | None) -> Cell | None:
        """What the index stores as a cell; None where it is empty, which is no fault."""
        if is_empty(stored, self.how):
            return None
        assert stored is not None
        if self.how == "base64":
            return Base64(stored)
        if self.how == "path" and isinstance(stored, str):
            return FilePath(root, stored)
        return Value(stored)

    def read(self, cell: Cell) -> Content:
        """`InvalidSample` where it cannot be had, `StorageError` after patience."""
        match cell:
            case FilePath(root, path):
                return self.files.read(root, path)
            case Base64(held):
                return Content(_from_base64(held, self.files.max_bytes))
            case Value(held):
                return Content(held if isinstance(held, bytes) else _encoded(held))

    def size(self, cell: Cell) -> int:
        """About how many bytes `read` would give; a file is looked at and not read."""
        match cell:
            case FilePath(root, path):
                return self.files.size(root, path)
            case Base64(held):
                return len(held) * 3 // 4
            case Value(held):
                return len(held if isinstance(held, bytes) else _encoded(held))


def is_empty(stored: str | bytes | None, how: How) -> bool:
    """Null or of no length; where it is no value itself, blank too."""
    return not stored or (how != "value" and not stored.strip())


def _encoded(cell: str) -> bytes:
    try:
        return cell.encode()
    except UnicodeEncodeError:
        raise InvalidSample("not text: half of a surrogate pair") from None


def _from_base64(cell: str | bytes, max_bytes: int) -> bytes:
    """
    RFC 4648, section 4 or 5, with padding or without, as it is, in lines, or as a `data:` URI.

    `InvalidSample` where it is none, or longer than `max_bytes`, which is looked at first.
    """
    _check_length(len(cell), max_bytes)
    data = cell if isinstance(cell, bytes) else _encoded(cell)
    data = data.strip(SPACE)
    if data[:5].lower() == b"data:":
        data = _of_uri(data)
    if any(sign in data for sign in b"\r\n \t"):
        data = data.translate(None, SPACE)
    if b"-" in data or b"_" in data:
        if b"+" in data or b"/" in data:
            raise InvalidSample("not base64: signs of two alphabets, such as - and +")
        data = data.translate(bytes.maketrans(b"-_", b"+/"))
    data += b"=" * (-len(data) % 4 if not data.endswith(b"=") else 0)
    try:
        found = binascii.a2b_base64(data, strict_mode=True)
    except binascii.Error as fault:
        raise InvalidSample(f"not base64: {fault}") from None
    if len(found) > max_bytes:
        raise InvalidSample(f"value too large: {len(found):,} bytes; max_bytes is {max_bytes:,}")
    return found


def _check_length(length: int, max_bytes: int) -> None:
    """Base64 takes 4 for 3 bytes, and line ends (RFC 2045) 2 for 76 of these."""
    most = max_bytes // 3 * 4 * 78 // 76 + URI_HEAD + 8
    if length > most:
        raise InvalidSample(
            f"value too large: {length:,} characters of base64; max_bytes is {max_bytes:,}"
        )


def _of_uri(data: bytes) -> bytes:
    comma = data.find(b",", 0, URI_HEAD)
    if comma < 0:
        raise InvalidSample("not a data: URI: it has no comma")
    if not data[:comma].rstrip(SPACE).lower().endswith(b";base64"):
        raise InvalidSample("a data: URI that is not in base64: convert it")
    return data[comma + 1 :]
