"""Image: an encoded picture becomes a row of 8-bit pixels."""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Gt, Le

from sampan.modalities.codecs.limits import check_size
from sampan.modalities.codecs.placement import SIDEWAYS, Placement, place, upright
from sampan.plugins import ArraySpec, Decoded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BYTES_PER_PIXEL = 24
"""Memory at most while a picture is decoded and flattened: WebP takes 21, AVIF 17, the rest 13."""
BYTES_PER_ROW_PIXEL = 32
"""While it is resized, which may make up to four times the pixels of the row."""
DECODER_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Image:
    """
    A row (y, x, channel) uint8 of an upright picture, RGB or grey (ITU-R BT.601 luma).

    JPEG, PNG, WebP, GIF, BMP, TIFF and, where Pillow has it, AVIF, known by content; of several
    frames the first. Exif orientation is applied ("unreadable Exif" is noted), transparency laid
    over `background`. Lab is converted to sRGB, colour profiles are ignored. Resizing is bicubic
    and antialiased.

    Grey of more than 8 bits is scaled: white is `white`, or what a TIFF says of the bits that it
    uses, or 65,535. Values that would fit into fewer bits are noted ("dark: fits into 12 of 16
    bits"). Floats are black to white from 0 to 1; other floats, signed and 32-bit numbers are
    refused unless `white` is set. TIFFs of deep colour whose colours lie apart (planar) and are not
    compressed are refused: Pillow would misread them.

    Truncated files are refused, and JPEGs that libjpeg warns about, even where a decoder would make
    up the rest; bytes that belong to nothing are noted ("junk in JPEG passed over"). JPEG has no
    checksums: of photographs with 8 bits flipped, libjpeg notices three of four. Damage in JPEGs of
    rare chroma layouts, which only Pillow reads, is refused where Pillow fails.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    cell: ClassVar[Literal["path", "value"]] = "path"
    workers: ClassVar[Literal["threads", "processes"]] = "processes"
    has_length: ClassVar[bool] = False

    height: Annotated[int, Gt(0), Le(16_384)] = 224
    """Pixels from top to bottom of the stored row."""
    width: Annotated[int, Gt(0), Le(16_384)] = 224
    """Pixels from left to right of the stored row."""
    channels: Literal[1, 3] = 3
    """3 for RGB, 1 for grey."""
    fit: Literal["crop", "stretch"] = "crop"
    """crop: resize until the target is covered, keep the centre; stretch: each side by itself."""
    background: str = "#ffffff"
    """Colour under transparent pixels, as #rrggbb."""
    white: float | None = None
    """
    Value shown as white in grey pictures of more than 8 bits, such as 4095 for 12 bits stored in
    16; by default what the file says, else the largest value of 16 bits, or 1.0 for floats.
    """
    black: float = 0.0
    """Value shown as black in such pictures."""
    max_pixels: Annotated[int, Gt(0), Le(2**32)] = 2**26
    """Pixels of a source picture at most, by its header; a larger one is not decoded."""
    max_bytes: Annotated[int, Gt(0), Le(2**36)] = 256 * 2**20
    """Bytes of one source file at most; a larger one is not read."""

    def __post_init__(self) -> None:
        if not re.fullmatch("#[0-9a-fA-F]{6}", self.background):
            raise ValueError(
                f"background {self.background!r} is no colour; write six hexadecimal digits, "
                "for example #ffffff"
            )
        if self.white is not None and not self.black < self.white < math.inf:
            raise ValueError(f"white {self.white:g} must be more than black {self.black:g}")

    def array(self) -> ArraySpec:
        return ArraySpec(("y", "x", "channel"), (self.height, self.width, self.channels), "uint8")

    def memory_bytes(self) -> int:
        """A source of `max_pixels` while it is decoded, and the row before it is cropped."""
        row = BYTES_PER_ROW_PIXEL * self.height * self.width
        return DECODER_BYTES + BYTES_PER_PIXEL * self.max_pixels + row

    def decode(self, data: bytes, out: "NDArray[np.uint8]") -> Decoded:
        """Fill `out` (y, x, channel); `InvalidSample` if it is no image, damaged, or too large."""
        from sampan.modalities.codecs import depth, jpeg, raster

        check_size(data, self.max_bytes)
        size = jpeg.plain_size(data)
        if size and size[0] * size[1] <= self.max_pixels:
            notes = self._from_jpeg(data, *size, 1, out)
            if notes is not None:
                return Decoded(notes=notes)
        with raster.opened(data, self.max_pixels) as opened:
            name = opened.format or "image"
            if name in ("JPEG", "MPO") and opened.mode in ("L", "RGB"):
                turned, notes = raster.orientation(opened)
                more = self._from_jpeg(data, opened.height, opened.width, turned, out)
                if more is not None:
                    return Decoded(notes=(*notes, *more))
            if name in ("JPEG", "MPO") and opened.mode == "CMYK":
                jpeg.decode(data, *opened.size[::-1], colours="CMYK", to_height=1, to_width=1)
            deep_colour = depth.is_deep_colour(opened)
            depth.refuse_misread(opened)
            with raster.verdicts(name):
                opened.load()
            turned, notes = raster.orientation(opened)  # Pillow turns some kinds as it loads them
            image, more = depth.eight_bit(opened, self.white, self.black)
            if deep_colour:
                more = depth.dark_colour(opened)
            colour = self.background
            red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
            flat = raster.flattened(image, self.channels, (red, green, blue))
            lying = self._lying(flat.height, flat.width, turned)
            out[...] = upright(raster.resized(flat, lying), turned)
        return Decoded(notes=(*notes, *more))

    def _lying(self, height: int, width: int, turned: int) -> Placement:
        """What to keep of a picture that lies in its file with this Exif orientation."""
        sides = (width, height) if turned in SIDEWAYS else (height, width)
        kept = place(*sides, to_height=self.height, to_width=self.width, fit=self.fit)
        return kept.lying(turned)

    def _from_jpeg(
        self, data: bytes, height: int, width: int, turned: int, out: "NDArray[np.uint8]"
    ) -> tuple[str, ...] | None:
        """
        Decoded no larger than needed: notes once `out` is filled, None for no verdict.
        """
        from sampan.modalities.codecs import jpeg, resampling
        from sampan.modalities.codecs.scratch import scratch

        to = self._lying(height, width, turned)
        scaled = jpeg.decode(
            data,
            height,
            width,
            colours="GRAY" if self.channels == 1 else "RGB",
            to_height=to.full_height,
            to_width=to.full_width,
        )
        if scaled is None:
            return None
        extent = (scaled.height, scaled.width)
        if turned == 1:
            resampling.resize(scaled.pixels, to, out, extent)
        else:
            made = scratch("turned", (to.height, to.width, self.channels))
            resampling.resize(scaled.pixels, to, made, extent)
            out[...] = upright(made, turned)
        return scaled.notes
