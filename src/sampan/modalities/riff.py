"""
What the header of a RIFF WAVE file claims.

Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0, 1991.
"""

import struct
from typing import NamedTuple

UNKNOWN_SIZES = frozenset({0xFFFFFFFF, 0x7FFFF000})
"""Written where the writer could not seek back: by FFmpeg and others, by SoX."""


class Claim(NamedTuple):
    """Bytes of sound that the header promises, and that the file has."""

    claimed: int
    found: int


def data_chunk(data: bytes) -> Claim | None:
    """The claim of the `data` chunk; None for other files, for streams, and where there is none."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"data":
            return None if size in UNKNOWN_SIZES else Claim(size, min(size, len(data) - at - 8))
        at += 8 + size + size % 2
    return None
