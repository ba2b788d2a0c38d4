"""Where a picture comes to lie that is resized to a fixed size."""

from typing import Literal, NamedTuple


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
