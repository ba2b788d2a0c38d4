"""JPEG by libjpeg-turbo, decoded no larger than needed."""

from typing import TYPE_CHECKING

import simplejpeg

from sampan.errors import InvalidSample
from sampan.modalities.raster import verdicts
from sampan.modalities.scratch import scratch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

APP1, START_OF_SCAN = 0xE1, 0xDA
DAMAGED_SCAN = (
    "premature end of data segment",
    "bad Huffman code",
    "bad arithmetic code",
    "instead of RST",
    "Invalid SOS parameters",
)
"""Warnings of libjpeg (jerror.h) after which part of the picture is made up."""


def plain_size(data: bytes) -> tuple[int, int] | None:
    """
    (height, width) of a grey or colour JPEG that has no Exif data; None for what else it may be.

    Reading these few bytes takes a tenth of the time that Pillow takes to open the file.
    """
    if not data.startswith(b"\xff\xd8\xff") or _has_exif(data):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (height, width) if colours in ("Gray", "YCbCr", "RGB") else None


def _has_exif(data: bytes) -> bool:
    """Whether there is Exif data before the scan, or something that is no segment (ITU-T T.81)."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == START_OF_SCAN:
            return False
        if data[at + 1] == APP1 and data.startswith(b"Exif", at + 4):
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return True


def decode(
    data: bytes, *, channels: int, min_height: int, min_width: int
) -> "NDArray[np.uint8] | None":
    """
    Pixels (y, x, channel), scaled down by the DCT as far as both sides keep their minimum.

    They are this thread's until it decodes the next picture. A file without its end-of-image marker
    is refused even if nothing else is missing: it was not copied whole, and how much is lost cannot
    be told. So is a damaged scan, part of which would be made up. None: this decoder has no verdict
    (junk between segments, rare colour spaces).
    """
    with verdicts("JPEG"):
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(
                data, min_height=min_height, min_width=min_width
            )
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                data,
                colorspace="GRAY" if channels == 1 else "RGB",
                min_height=min_height,
                min_width=min_width,
                buffer=scratch("jpeg", (height, width, channels)),
            )
            return pixels
        except ValueError as fault:
            text = str(fault)
    if "Premature end of JPEG" in text:
        raise InvalidSample("truncated JPEG: the file ends before the end-of-image marker")
    if any(damage in text for damage in DAMAGED_SCAN):
        raise InvalidSample(f"corrupt JPEG: {text.removeprefix('Corrupt JPEG data: ')}")
    return None
