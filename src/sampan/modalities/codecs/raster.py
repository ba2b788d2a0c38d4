"""Image files through Pillow: opened under limits, stood upright, made 8-bit grey or RGB."""

import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageCms
from PIL.Image import Resampling
from PIL.ImageFile import ImageFile

from sampan.errors import InvalidSample
from sampan.formats import described, plain, recognised
from sampan.modalities.codecs.placement import ORIENTATION, Placement

NAMES = {
    "an AVIF picture": "AVIF",
    "a BMP picture": "BMP",
    "a GIF picture": "GIF",
    "a JPEG picture": "JPEG",
    "a PNG picture": "PNG",
    "a TIFF picture": "TIFF",
    "a BigTIFF picture": "TIFF",
    "a WebP picture": "WEBP",
}
"""Formats that are read, as `sampan.formats` names them → as Pillow does."""


CODES = re.compile("decod(er|ing) error|when reading image file")
"""Pillow has numbers, or no words, for what its decoders met."""


@contextmanager
def opened(data: bytes, max_pixels: int) -> Iterator[ImageFile]:
    """
    The image with its header read and no pixel decoded; further frames are left alone.

    Within the block Pillow's own limit on pixels follows `max_pixels` and its warnings are off: one
    about metadata is no fault of the pixels. Both are the whole process's: threads that are in such
    blocks at once share them, with the largest limit.
    """
    try:
        with _POLICY.of(max_pixels):
            image = _open(data)
            if image.width * image.height > max_pixels:
                raise _too_many(image.width * image.height, max_pixels)
            yield image
    except PIL.Image.DecompressionBombError as fault:
        claimed = re.search(r"\d+", str(fault))
        raise _too_many(int(claimed[0]) if claimed else None, max_pixels) from fault
    except MemoryError as fault:
        raise InvalidSample("needs too much memory: the decoder ran out of it") from fault


class _Policy:
    """Pillow's limit and warnings, set by the first thread in a block and reset by the last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._limits: list[int] = []
        self._before = ExitStack()

    @contextmanager
    def of(self, max_pixels: int) -> Iterator[None]:
        # Pillow refuses more than twice its limit, for GIF before it makes a canvas of that size.
        limit = (max_pixels + 1) // 2
        with self.lock:
            if not self._limits:
                self._before.callback(setattr, PIL.Image, *self._usual())
                self._before.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._limits.append(limit)
            PIL.Image.MAX_IMAGE_PIXELS = max(self._limits)
        try:
            yield
        finally:
            with self.lock:
                self._limits.remove(limit)
                if self._limits:
                    PIL.Image.MAX_IMAGE_PIXELS = max(self._limits)
                else:
                    self._before.close()

    def _usual(self) -> tuple[str, int | None]:
        return "MAX_IMAGE_PIXELS", PIL.Image.MAX_IMAGE_PIXELS


_POLICY = _Policy()


@contextmanager
def verdicts(name: str) -> Iterator[None]:
    """What a decoder raises about a `name` file, but for its size, becomes a verdict."""
    try:
        yield
    except (InvalidSample, MemoryError, PIL.Image.DecompressionBombError):
        raise
    except Exception as fault:
        text = plain(str(fault)) or type(fault).__name__
        if CODES.search(text):
            text = "its pixels cannot be decoded"
        cut = isinstance(fault, EOFError) or "truncated" in text.lower()
        raise InvalidSample(f"{'truncated' if cut else 'corrupt'} {name}: {text}") from fault


def orientation(image: PIL.Image.Image) -> tuple[int, tuple[str, ...]]:
    """The Exif orientation, 1 where there is none; a note where the Exif data cannot be read."""
    try:
        found: int | None = image.getexif().get(ORIENTATION)
        if found is None and "exif" in image.info:
            _read_strictly(image.info["exif"])
    except Exception:
        return 1, ("unreadable Exif",)
    return (found if found and found in range(1, 9) else 1), ()


def flattened(
    image: PIL.Image.Image, channels: int, background: tuple[int, int, int]
) -> PIL.Image.Image:
    """
    The pixels as L (`channels` 1, ITU-R BT.601 luma) or RGB (3), transparency over `background`.

    Lab goes to sRGB, CMYK by Pillow's formula; profiles are not applied.
    """
    mode = "L" if channels == 1 else "RGB"
    if image.mode == "LAB":
        image = _srgb(image)
    with verdicts(image.format or f"{image.mode} image"):
        if not image.has_transparency_data:
            return image if image.mode == mode else image.convert(mode)
        if image.mode != "RGBA":
            image = image.convert("RGBA")
        flat = PIL.Image.new("RGB", image.size, background)
        flat.paste(image, mask=image.getchannel("A"))
        return flat.convert(mode)


def _open(data: bytes) -> ImageFile:
    known = recognised(data)
    name = NAMES.get(known.name) if known else None
    width, height = _claimed_size(data, name)
    if not width or not height:
        raise InvalidSample(f"zero {'height' if width else 'width'}: {width} × {height} claimed")
    with verdicts(name or "image"):
        try:
            return PIL.Image.open(io.BytesIO(data), formats=sorted({*NAMES.values()}))
        except PIL.UnidentifiedImageError:
            if name is None:
                raise _unreadable(data) from None
            raise _without_header(data, name) from None


def _unreadable(data: bytes) -> InvalidSample:
    known = recognised(data)
    reason = "unsupported format" if known and known.family == "picture" else "not an image"
    return InvalidSample(f"{reason}: {described(data, 'image')}")


def _without_header(data: bytes, name: str) -> InvalidSample:
    """With what Pillow does not say where it tries several formats."""
    said = ""
    try:
        PIL.Image.OPEN[name][0](io.BytesIO(data), "")
    except SyntaxError as fault:
        said = plain(str(fault))
    except Exception:
        pass
    if "pixel mode" in said:
        return InvalidSample(
            f"unsupported pixels: a {name} file of rare depth or order; convert it to 8 or 16 bits"
        )
    return InvalidSample(f"corrupt {name}: its header cannot be read{said and f' ({said})'}")


def _too_many(pixels: int | None, max_pixels: int) -> InvalidSample:
    claimed = "more" if pixels is None else f"{pixels:,}"
    return InvalidSample(f"too many pixels: {claimed} claimed, max_pixels is {max_pixels:,}")


def _claimed_size(data: bytes, name: str | None) -> tuple[int, int]:
    """Width and height where they stand at a fixed place, else (1, 1); Pillow hides a size of 0."""
    if name == "PNG" and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
    elif name == "GIF" and len(data) >= 10:
        width, height = struct.unpack_from("<HH", data, 6)
    else:
        width, height = 1, 1
    return width, height


def _read_strictly(exif: bytes) -> None:
    """Pillow gives no tags where it cannot read them, after a warning: `ValueError` for one."""
    here, said = threading.get_ident(), []

    def note(message: Warning | str, *_: object) -> None:
        if threading.get_ident() == here:
            said.append(str(message))

    with _POLICY.lock, warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note  # type: ignore[assignment] # catch_warnings resets it
        PIL.Image.Exif().load(exif)
    if said:
        raise ValueError(said[0])


def _srgb(image: PIL.Image.Image) -> PIL.Image.Image:
    with verdicts(image.format or "Lab image"):
        flat = ImageCms.profileToProfile(
            image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    if flat is None:
        raise InvalidSample("unsupported pixels: mode LAB cannot be converted")
    flat.info.clear()
    return flat


def from_pixels(pixels: NDArray[np.uint8]) -> PIL.Image.Image:
    """(y, x, channel) as L or RGB."""
    return PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def to_pixels(image: PIL.Image.Image) -> NDArray[np.uint8]:
    """L or RGB as (y, x, channel)."""
    return np.array(image).reshape(image.height, image.width, -1)


def resized(
    image: PIL.Image.Image, to: Placement, extent: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """
    (y, x, channel), antialiased bicubic; only the window is computed, whatever the whole.

    The picture ends after `extent` rows and columns, by default with the last pixel.
    """
    height, width = extent or (float(image.height), float(image.width))
    if (width, height) == (to.full_width, to.full_height):
        kept = image.crop((to.left, to.top, to.left + to.width, to.top + to.height))
    else:
        x, y = width / to.full_width, height / to.full_height
        right = min(width, (to.left + to.width) * x)
        bottom = min(height, (to.top + to.height) * y)
        kept = image.resize(
            (to.width, to.height), Resampling.BICUBIC, box=(to.left * x, to.top * y, right, bottom)
        )
    return to_pixels(kept)
