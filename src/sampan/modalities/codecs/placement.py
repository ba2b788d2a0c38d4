"""Where a picture comes to lie that is resized to a fixed size."""

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORIENTATION = 0x0112
SIDEWAYS = frozenset({5, 6, 7, 8})
UPSIDE_DOWN = frozenset({3, 4, 7, 8})
MIRRORED = frozenset({2, 3, 6, 7})
"""
Orientations whose rows stand in the file as columns, and from what is then below or at the right
(Exif 2.32, tag 0x0112).
"""


class Placement(NamedTuple):
    """The picture as a whole is resized to (full_height, full_width); the rest is the part kept."""

    full_height: int
    full_width: int
    top: int
    left: int
    height: int
    width: int

    def lying(self, exif_orientation: int) -> "Placement":
        """The same part of the picture as it lies in the file, before it is stood upright."""
        full_height, full_width, top, left, height, width = self
        if exif_orientation in MIRRORED:
            left = full_width - left - width
        if exif_orientation in UPSIDE_DOWN:
            top = full_height - top - height
        if exif_orientation in SIDEWAYS:
            return Placement(full_width, full_height, left, top, width, height)
        return Placement(full_height, full_width, top, left, height, width)


def upright(pixels: "NDArray[np.uint8]", exif_orientation: int) -> "NDArray[np.uint8]":
    """(y, x, channel), a view of the same memory, as the picture is to be seen."""
    if exif_orientation in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if exif_orientation in UPSIDE_DOWN:
        pixels = pixels[::-1]
    if exif_orientation in MIRRORED:
        pixels = pixels[:, ::-1]
    return pixels


def place(
    height: int, width: int, *, to_height: int, to_width: int, fit: Literal["crop", "stretch"]
) -> Placement:
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
    return Placement(full_height, full_width, top, left, to_height, to_width)
