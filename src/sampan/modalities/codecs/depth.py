"""Pictures of more than 8 bits a channel, made 8-bit: which of their values is white."""

from functools import lru_cache
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from sampan.errors import InvalidSample

BITS_PER_SAMPLE, PHOTOMETRIC, PLANES, COLOUR_MAP, SAMPLE_FORMAT = 258, 262, 284, 320, 339
MAX_VALUE, SIGNED_MAX_VALUE = 281, 341
"""Tags of TIFF 6.0."""
WHITE_IS_ZERO = 0
UNSIGNED, SIGNED = 1, 2
EACH_BY_ITSELF = 2
CAMERA_BITS = (8, 10, 12, 14)
"""Bits of sensors whose values are often stored in 16 bits as they are."""
LOOKS_BLACK = (8, 10, 12)
"""Those that leave less than a sixteenth of the brightness."""
BRIGHT = 1 / 100
"""Share of pixels beyond them that may be saturated or broken, or a caption."""
DARK_FLOATS = "dark: floats up to a quarter of 1.0 (set white)"


def _bits_used(values: NDArray[Any], unit: int = 1) -> tuple[str, int] | None:
    """
    How ("fits", "nearly fits"), and into how many bits, if 16-bit values could be of fewer bits.

    `values` count in `unit`: 256 where their upper 8 bits are left.
    """
    top = unit * int(values.max()) + unit - 1
    if bits := next((bits for bits in CAMERA_BITS if 0 < top < 2**bits), None):
        return "fits", bits
    most = BRIGHT * values.size
    above = {bits: np.count_nonzero(values >= 2**bits // unit) for bits in (0, *LOOKS_BLACK)}
    if above[0] <= most:  # a drawing on black
        return None
    bits = next((bits for bits in LOOKS_BLACK if above[bits] <= most), None)
    return ("nearly fits", bits) if bits else None


def refuse_misread(image: ImageFile) -> None:
    """`InvalidSample` for a TIFF whose colours Pillow would read in half, as 8 of 16 bits each."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    apart = tags.get(PLANES) == EACH_BY_ITSELF and max(tags.get(BITS_PER_SAMPLE, (8,))) > 8
    if apart and len(image.getbands()) > 1 and any(tile[0] == "raw" for tile in image.tile):
        raise InvalidSample(
            "unsupported pixels: a TIFF file of deep colour, each by itself (planar) and not "
            "compressed; store its colours side by side, or compress it"
        )


def is_deep_colour(image: ImageFile) -> bool:
    """Whether a picture that is not yet loaded has 16 bits a channel, of which Pillow keeps 8."""
    colour = image.mode in ("LA", "RGB", "RGBA")
    return colour and any(";16" in str(tile.args) for tile in image.tile)


def dark_colour(image: PIL.Image.Image) -> tuple[str, ...]:
    """A note for a loaded picture of 16-bit colour, the upper 8 of which are left."""
    channels = [band for band in image.getbands() if band != "A"]
    used = _bits_used(np.asarray(image)[..., : len(channels)], 256)
    return (f"dark: colour {used[0]} into {used[1]} of 16 bits",) if used else ()


def eight_bit(
    image: PIL.Image.Image, white: float | None, black: float
) -> tuple[PIL.Image.Image, tuple[str, ...]]:
    """
    A loaded picture, and notes; of modes I;16, I and F as L, or LA where one value is transparent.
    A palette of 16 bits that has only 8-bit values is read as one of 8 bits, as libtiff does.

    `white` becomes 255 and `black` 0, what lies beyond is cut. Where `white` is None, it is that of
    the bits that a TIFF says are used, else 65,535, and 1.0 for floats in 0 to 1; `InvalidSample`
    for other floats, 32-bit and signed numbers.
    """
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    if image.mode == "P" and 0 < max(tags.get(COLOUR_MAP, (0,))) < 256:
        image.putpalette(bytes(tags[COLOUR_MAP]), "RGB;L")
        return image, ("palette: fits into 8 of 16 bits",)
    values, signed = np.asarray(image), tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0] == SIGNED
    if image.mode == "L" and signed:  # Pillow takes negative numbers for those above 127
        values = values.view(np.int8)
    elif image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image, ()
    if image.mode == "I" and tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0] == UNSIGNED:
        values = values.view(np.uint32)
    low, top = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(top)):
        raise InvalidSample("not finite: a pixel is NaN or infinite")
    notes: tuple[str, ...] = ()
    if white is None:
        white = _white_by_tags(tags, float(top)) or _usual_white(image.mode, float(low), float(top))
        if white == 65_535 and (used := _bits_used(values)):
            how, bits = used
            notes = (f"dark: {how} into {bits} of 16 bits (white: {2**bits - 1})",)
        elif white == 1.0 and 0 < top <= 0.25:
            notes = (DARK_FLOATS,)
    if not np.isfinite(white):
        raise InvalidSample(
            f"unsupported pixels: {'floats' if image.mode == 'F' else 'whole numbers'} from "
            f"{low + 0.0:.10g} to {top + 0.0:.10g}; set white (and black)"
        )
    if low < black or top > white:
        notes = (*notes, "beyond black or white")
    grey = _scaled(values, white, black, tags.get(PHOTOMETRIC) == WHITE_IS_ZERO)
    made = PIL.Image.fromarray(grey)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        opaque = PIL.Image.fromarray(np.uint8(255) * (values != clear))
        made = PIL.Image.merge("LA", (made, opaque))
    made.format = image.format
    return made, notes


def _white_by_tags(tags: Any, top: float) -> float | None:
    """
    Of the bits that a TIFF uses; its highest value counts only where it is one of so many bits:
    others wrote what this one picture holds.
    """
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    said = [2**bits - 1] if 8 < bits < 16 else []
    for tag in (MAX_VALUE, SIGNED_MAX_VALUE):
        value = tags.get(tag)
        said += value if isinstance(value, tuple) else [value]
    widths = {2**bits - 1 for bits in range(9, 16)}
    return next((float(value) for value in said if value in widths and value >= top), None)


def _usual_white(mode: str, low: float, top: float) -> float:
    """Infinite where it cannot be told."""
    if mode.startswith("I;16"):
        return 65_535
    return 1.0 if mode == "F" and low >= 0 and top <= 1 else float("inf")


def _scaled(values: NDArray[Any], white: float, black: float, inverted: bool) -> NDArray[np.uint8]:
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        levels: NDArray[np.uint8] = _table(white, black, inverted)[values]
        return levels
    return _levels(values.astype(np.float64), white, black, inverted)


@lru_cache(maxsize=4)
def _table(white: float, black: float, inverted: bool) -> NDArray[np.uint8]:
    return _levels(np.arange(65_536, dtype=np.float64), white, black, inverted)


def _levels(
    values: NDArray[np.float64], white: float, black: float, inverted: bool
) -> NDArray[np.uint8]:
    values -= black
    values *= 255 / (white - black)
    np.rint(values.clip(0, 255, out=values), out=values)
    return (255 - values if inverted else values).astype(np.uint8)
