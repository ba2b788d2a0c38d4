"""Antialiased bicubic resizing to a window of the resized picture, by Pillow and by torch."""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from sampan.modalities.scratch import scratch

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

MAX_EXCESS = 4
"""A picture that would be resized to more than this many times its window goes another way."""
SHIFT = 1 / 64
"""Source pixels by which a picture may move: 58 dB against one that does not."""


class Window(NamedTuple):
    """The picture as a whole is resized to (full_height, full_width); the rest is the part kept."""

    full_height: int
    full_width: int
    top: int
    left: int
    height: int
    width: int


def window(
    height: int, width: int, *, to_height: int, to_width: int, fit: Literal["crop", "stretch"]
) -> Window:
    """
    Where a picture of `height` × `width` comes to lie.

    "crop": the smallest size of the same shape that covers the target, sides rounded down, and its
    middle, rounded towards the top left, as torchvision's Resize and CenterCrop do. "stretch": the
    target itself.
    """
    full_height, full_width = to_height, to_width
    if fit == "crop" and to_height * width >= to_width * height:
        full_width = max(to_width, to_height * width // height)
    elif fit == "crop":
        full_height = max(to_height, to_width * height // width)
    top, left = (full_height - to_height) // 2, (full_width - to_width) // 2
    return Window(full_height, full_width, top, left, to_height, to_width)


def resize_with_pillow(image: "PIL.Image.Image", to: Window) -> "NDArray[np.uint8]":
    """(y, x, channel); only the window is computed, whatever the size of the whole."""
    import numpy as np
    from PIL.Image import Resampling

    if image.size == (to.full_width, to.full_height):
        kept = image.crop((to.left, to.top, to.left + to.width, to.top + to.height))
    else:
        x, y = image.width / to.full_width, image.height / to.full_height
        right = min(image.width, (to.left + to.width) * x)
        bottom = min(image.height, (to.top + to.height) * y)
        kept = image.resize(
            (to.width, to.height), Resampling.BICUBIC, box=(to.left * x, to.top * y, right, bottom)
        )
    return np.array(kept).reshape(to.height, to.width, -1)


def resize_with_torch(pixels: "NDArray[np.uint8]", to: Window, out: "NDArray[np.uint8]") -> None:
    """
    (y, x, channel) → `out` (y, x, channel), with the kernel of Pillow at three times its speed.

    Only the window is computed, and the axis that shrinks under contiguous rows goes first.
    """
    import numpy as np

    y = _axis(pixels.shape[0], to.full_height, to.top, to.height)
    x = _axis(pixels.shape[1], to.full_width, to.left, to.width)
    if y.made * x.made > MAX_EXCESS * to.height * to.width:
        from sampan.modalities.raster import from_pixels

        out[...] = resize_with_pillow(from_pixels(pixels), to)
        return
    kept = pixels[y.first : y.stop, x.first : x.stop]
    down, across = (y.made, kept.shape[1]), (kept.shape[0], x.made)
    if y.scale < 1:
        kept = _resized("vertical", kept, down, y.scale, 1.0)
        across = (y.made, x.made)
    kept = _resized("horizontal", kept, across, 1.0, x.scale)
    if y.scale >= 1:
        kept = _resized("vertical", kept, (y.made, x.made), y.scale, 1.0)
    np.copyto(out, kept[y.lead : y.lead + to.height, x.lead : x.lead + to.width])


class _Axis(NamedTuple):
    """Source pixels [first, stop) make `made` pixels of the result; the first `lead` go."""

    first: int
    stop: int
    lead: int
    made: int
    scale: float
    """Pixels of the result for one of the source."""


@lru_cache(maxsize=1024)
def _axis(source: int, full: int, offset: int, size: int) -> _Axis:
    """
    What to take of `source` pixels, that become `full`, for [offset, offset + size) of these.

    A piece of the source can start only where a pixel of the result does too, or the picture moves:
    cropped to any whole pixel it agrees with Pillow's by 36 dB on photographs. So the piece starts
    at the last pixel of the result, far enough before the window, that begins within `SHIFT` of a
    source pixel.
    """
    step = source / full
    if source == full:
        return _Axis(offset, offset + size, 0, size, 1.0)
    reach = 2 * max(step, 1.0)
    start = offset - math.ceil(reach / step)
    while start > 0 and abs(start * step - round(start * step)) > SHIFT:
        start -= 1
    start = max(start, 0)
    first = round(start * step)
    stop = min(source, math.ceil((offset + size) * step + reach) + 1)
    if stop - first == offset - start + size:  # torch takes equal sizes for nothing to do
        return _Axis(0, source, offset, full, full / source)
    return _Axis(first, stop, offset - start, offset - start + size, full / source)


def _resized(
    purpose: str,
    pixels: "NDArray[np.uint8]",
    shape: tuple[int, int],
    y_scale: float,
    x_scale: float,
) -> "NDArray[np.uint8]":
    """One axis resized, in memory of this thread; as it is where nothing changes."""
    if pixels.shape[:2] == shape:
        return pixels
    import torch

    made = scratch(purpose, (*shape, pixels.shape[2]))
    # What torch.nn.functional.interpolate calls, which takes no place to write to.
    torch.ops.aten._upsample_bicubic2d_aa.out(
        torch.from_numpy(pixels[None]).permute(0, 3, 1, 2),
        shape,
        False,
        y_scale,
        x_scale,
        out=torch.from_numpy(made[None]).permute(0, 3, 1, 2),
    )
    return made
