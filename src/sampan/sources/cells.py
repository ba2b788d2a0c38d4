"""One way from a cell, as the index holds it, to the bytes of a sample."""

import binascii
from dataclasses import dataclass
from typing import Literal

from sampan.errors import InvalidSample
from sampan.sources.files import Content, SampleFiles

How = Literal["path", "value", "base64"]
"""What the text of a cell is: a path, the value itself, or the value in base64."""

SPACE = b" \t\r\n"
URI_HEAD = 256
"""Bytes of a `data:` URI at most before its comma."""


@dataclass(frozen=True)
class CellReader:
    """Bytes of cells, text or bytes, of which text is taken as `how` says."""

    files: SampleFiles
    how: How

    def read(self, source: int, cell: str | bytes | None) -> Content | None:
        """
        The content; None where there is none because the cell is empty, which is no fault.

        `InvalidSample` where it cannot be had, `StorageError` after patience.
        """
        if is_empty(cell, self.how):
            return None
        assert cell is not None
        if self.how == "base64":
            return Content(_from_base64(cell, self.files.max_bytes))
        if isinstance(cell, bytes):
            return Content(cell)
        if self.how == "path":
            return self.files.read(source, cell)
        return Content(_encoded(cell))

    def size(self, source: int, cell: str | bytes | None) -> int | None:
        """About how many bytes `read` would give; a file is not read."""
        if is_empty(cell, self.how):
            return None
        assert cell is not None
        if self.how == "path" and isinstance(cell, str):
            return self.files.size(source, cell)
        size = len(cell if isinstance(cell, bytes) else _encoded(cell))
        return size * 3 // 4 if self.how == "base64" else size


def is_empty(cell: str | bytes | None, how: How) -> bool:
    """Null or of no length; where it is no value itself, blank too."""
    return not cell or (how != "value" and not cell.strip())


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
