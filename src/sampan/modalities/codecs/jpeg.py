"""JPEG by libjpeg-turbo, decoded no larger than needed."""

import re
from typing import TYPE_CHECKING, NamedTuple

import simplejpeg

from sampan.errors import InvalidSample
from sampan.modalities.codecs.raster import verdicts
from sampan.modalities.codecs.scratch import scratch
from sampan.modalities.codecs.segments import first_scan, has_exif, only_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXTRA_BYTES = re.compile("([0-9]+) extraneous bytes before marker 0x([0-9a-f]+)")
CHANNELS = {"GRAY": 1, "RGB": 3, "CMYK": 4}
LEAST_PIXELS = {2: 3, 4: 2.75}
"""
Scale in eighths → pixels a side of which one of the resized picture is made at least: photographs
keep 45 dB to a full decode, most of them 50. The other scales of libjpeg take longer than all
pixels, or as long as these.
"""
RESTARTS, END_OF_IMAGE = range(0xD0, 0xD8), 0xD9
HARMLESS = ("unknown JFIF revision", "Unknown Adobe color transform", "bad ICC marker")
OTHER_KINDS = (
    "tj",
    "data precision",
    "JPEG process",
    "arithmetic coding",
    "sampling",
    "color conversion",
    "memory",
)
"""In what libjpeg and its wrapper say of files that are no worse for it, which Pillow may read."""
JUNK = "junk in JPEG passed over"


class Scaled(NamedTuple):
    """
    Pixels (y, x, channel) of a picture that ends after `height` rows and `width` columns of them.

    They are this thread's until it decodes the next picture.
    """

    pixels: "NDArray[np.uint8]"
    height: float
    width: float
    notes: tuple[str, ...] = ()


def plain_size(data: bytes) -> tuple[int, int] | None:
    """
    (height, width) of a grey or colour JPEG that has no Exif data; None for what else it may be.

    Reading these few bytes takes a tenth of the time that Pillow takes to open the file.
    """
    if not data.startswith(b"\xff\xd8\xff") or has_exif(data):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (height, width) if colours in ("Gray", "YCbCr", "RGB") else None


def decode(
    data: bytes, height: int, width: int, *, colours: str, to_height: int, to_width: int
) -> Scaled | None:
    """
    A file of `height` × `width` that is to be resized to `to_height` × `to_width`, scaled down by
    the DCT where that hardly shows.

    `colours` is "GRAY", "RGB" or "CMYK". A file without its end-of-image marker is refused even if
    nothing else is missing: it was not copied whole, and how much is lost cannot be told. So is one
    that libjpeg warns about, for part of it would be made up; but not for bytes between segments,
    and padding before the end, which are noted. None: this decoder has no verdict (rare kinds).
    """
    eighths = _eighths(height, width, to_height, to_width)
    shape = (-(-height * eighths // 8), -(-width * eighths // 8), CHANNELS[colours])
    notes: tuple[str, ...] = ()
    while True:
        with verdicts("JPEG"):
            try:
                pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                    data,
                    colorspace=colours,
                    min_height=shape[0],
                    min_width=shape[1],
                    buffer=scratch("jpeg", shape),
                )
            except ValueError as fault:
                warning = str(fault)
            else:
                if pixels.shape != shape:
                    return None
                extent = (height * eighths / 8, width * eighths / 8)
                _shortened(pixels, *extent)
                return Scaled(pixels, *extent, notes)
        # Only the first warning is told, so that others may lie behind a harmless one.
        mended = _without_the_harmless(data, warning)
        if mended is None or mended == data:
            _refuse(warning)
            return None
        data, notes = mended, (JUNK,)


def _eighths(height: int, width: int, to_height: int, to_width: int) -> int:
    """The smallest scale, in eighths, that leaves enough pixels for each of the resized picture."""
    for eighths, enough in LEAST_PIXELS.items():
        least = 8 * enough
        if height * eighths >= least * to_height and width * eighths >= least * to_width:
            return eighths
    return 8


def _shortened(pixels: "NDArray[np.uint8]", height: float, width: float) -> None:
    """
    Less weight for the last row and column, as little of which is the picture's as is left of
    `height` and `width`; the rest falls to those beside them.
    """
    for lines, extent in ((pixels, height), (pixels.swapaxes(0, 1), width)):
        share = extent - (len(lines) - 1)
        if share < 1 and len(lines) > 1:
            lines[-1] = lines[-1] * share + lines[-2] * (1 - share) + 0.5


def _without_the_harmless(data: bytes, warning: str) -> bytes | None:
    """The file without what this warning is about; None where that is part of the picture."""
    if any(text in warning for text in HARMLESS):
        return only_picture(data)
    extra = EXTRA_BYTES.search(warning)
    if extra is None or int(extra[2], 16) in RESTARTS:
        return None
    if int(extra[2], 16) == END_OF_IMAGE:
        return _without_padding(data, int(extra[1]))
    return only_picture(data)


def _without_padding(data: bytes, num_bytes: int) -> bytes | None:
    """The file without so many bytes before its end, if they are one alone or all the same."""
    end = data.find(b"\xff\xd9", first_scan(data))
    padding = data[max(0, end - num_bytes) : end]
    if len(set(padding)) != 1:
        return None
    return data[: end - num_bytes] + data[end:]


def _refuse(warning: str) -> None:
    """`InvalidSample`, unless this is another kind of file than the decoder reads."""
    if any(text in warning for text in OTHER_KINDS):
        return
    if "Premature end of JPEG" in warning:
        raise InvalidSample("truncated JPEG: the file ends before the end-of-image marker")
    raise InvalidSample(f"corrupt JPEG: {warning.removeprefix('Corrupt JPEG data: ')}")
