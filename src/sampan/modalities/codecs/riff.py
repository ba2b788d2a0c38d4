"""
What the header of a RIFF WAVE file claims, or of RIFX, its big-endian form.

Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0, 1991; RF64: EBU
Tech 3306.
"""

import struct
from typing import NamedTuple

UNKNOWN = "length unknown to its writer"
COUNTED = "header counted as sound"
NEAR = 2**16
"""
Writers that cannot go back put a size that means "until the end": 0, or the largest that a reader
takes (2³¹ or 2³², less a header, a block, a page); nobody has just so many bytes by chance.
"""


class Claim(NamedTuple):
    """Bytes of sound that the header promises, and that the file has from byte `start` on."""

    claimed: int
    found: int
    start: int
    note: str | None = None
    """Why the file is read to its end although it has not what is promised."""


def data_chunk(data: bytes) -> Claim | None:
    """The claim of the `data` chunk; None for other files, and where there is none."""
    if data[:4] not in (b"RIFF", b"RF64", b"RIFX") or data[8:12] != b"WAVE":
        return None
    whole, at, large = _size(data, 4), 12, None
    while at + 8 <= len(data):
        name, size, start = data[at : at + 4], _size(data, at + 4), at + 8
        if name == b"ds64" and start + 16 <= len(data):
            whole, large = struct.unpack_from("<QQ", data, start)
        if name == b"data":
            if size == 0xFFFFFFFF and large is not None:
                size = large
            found = len(data) - start
            return Claim(size, min(size, found), start, _note(data, size, found, whole))
        at = start + size + size % 2
    return None


def closed(data: bytes, claim: Claim) -> bytes:
    """The file with the sizes that its writer left open, as RIFF where it was RF64."""
    sized, order = bytearray(data[: claim.start]), _order(data)
    name = b"RIFX" if order == ">" else b"RIFF"
    struct.pack_into(f"{order}4sI", sized, 0, name, min(len(data) - 8, 2**32 - 1))
    struct.pack_into(f"{order}I", sized, claim.start - 4, min(len(data) - claim.start, 2**32 - 1))
    return bytes(sized).replace(b"ds64", b"JUNK", 1) + data[claim.start :]


def _note(data: bytes, size: int, found: int, whole: int) -> str | None:
    if size == 0:
        return UNKNOWN if found and not _are_chunks(data, len(data) - found) else None
    if size <= found:
        return None
    if _is_unknown(size) or _is_unknown(whole):
        return UNKNOWN
    return COUNTED if size in (len(data), len(data) - 8) else None


def _is_unknown(size: int) -> bool:
    return (
        size == 0
        or any(0 <= end - size <= NEAR for end in (2**32, 2**64))
        or (abs(2**31 - size) <= NEAR)
    )


def _are_chunks(data: bytes, at: int) -> bool:
    """Whether the rest of the file is whole chunks, such as those behind an empty sound."""
    while at + 8 <= len(data) and data[at : at + 4].decode("latin-1").isprintable():
        size = _size(data, at + 4)
        at += 8 + size + size % 2
    return len(data) <= at <= len(data) + 1


def _size(data: bytes, at: int) -> int:
    size: int = struct.unpack_from(f"{_order(data)}I", data, at)[0]
    return size


def _order(data: bytes) -> str:
    return ">" if data[:4] == b"RIFX" else "<"
