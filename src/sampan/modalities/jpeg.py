"""JPEG by libjpeg-turbo, decoded no larger than needed."""

from typing import TYPE_CHECKING

import simplejpeg

from sampan.errors import InvalidSample
from sampan.modalities.raster import verdicts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DAMAGED_SCAN = (
    "premature end of data segment",
    "bad Huffman code",
    "bad arithmetic code",
    "instead of RST",
    "Invalid SOS parameters",
)
"""Warnings of libjpeg (jerror.h) after which part of the picture is made up."""


def decode(
    data: bytes, *, channels: int, min_height: int, min_width: int
) -> "NDArray[np.uint8] | None":
    """
    Pixels (y, x, channel), scaled down by the DCT as far as both sides keep their minimum.

    A file without its end-of-image marker is refused even if nothing else is missing: it was not
    copied whole, and how much is lost cannot be told. So is a damaged scan, part of which would be
    made up. None: this decoder has no verdict (junk between segments, rare colour spaces).
    """
    with verdicts("JPEG"):
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                data,
                colorspace="GRAY" if channels == 1 else "RGB",
                min_height=min_height,
                min_width=min_width,
            )
            return pixels
        except ValueError as fault:
            text = str(fault)
    if "Premature end of JPEG" in text:
        raise InvalidSample("truncated JPEG: the file ends before the end-of-image marker")
    if any(damage in text for damage in DAMAGED_SCAN):
        raise InvalidSample(f"corrupt JPEG: {text.removeprefix('Corrupt JPEG data: ')}")
    return None
