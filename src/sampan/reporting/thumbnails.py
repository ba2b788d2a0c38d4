"""Pictures and sounds as small PNG images inside the page."""

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sampan.reporting.data import Picture, Sound

LIMIT = 96
"""Pixels of the longer side that are stored at most."""
_WINDOW = 256
_FLOOR_DB, _LEAST_FLOOR_DB = -40.0, -6.0
_RAMP = (
    (0.0, (16, 14, 40)),
    (0.3, (66, 42, 122)),
    (0.55, (170, 60, 110)),
    (0.8, (246, 142, 62)),
    (1.0, (253, 240, 180)),
)


class Thumbnail(NamedTuple):
    """A `data:` address and the size in CSS pixels; `pixelated` where it is shown enlarged."""

    address: str
    width: int
    height: int
    pixelated: bool


def picture_thumbnail(picture: Picture, edge: int = LIMIT) -> Thumbnail:
    """A longer side of at most `edge`: enlarged by whole factors, made smaller smoothly."""
    pixels = picture.pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels)
    longer = max(image.size)
    factor = float(edge // longer) if longer <= edge else edge / longer
    width, height = (max(1, round(side * factor)) for side in image.size)
    if longer > LIMIT:
        image.thumbnail((LIMIT, LIMIT), Image.Resampling.LANCZOS)
    return Thumbnail(_png(image), width, height, pixelated=factor > 1)


def sound_thumbnail(sound: Sound, edge: int = LIMIT) -> Thumbnail:
    """A spectrogram, time to the right and frequency upwards from 0 Hz to half the rate."""
    level = spectrogram(sound.samples)
    stops = [stop for stop, _ in _RAMP]
    colours = np.stack(
        [np.interp(level, stops, [colour[part] for _, colour in _RAMP]) for part in range(3)], -1
    )
    image = Image.fromarray(colours.round().astype(np.uint8)[::-1])
    image = image.resize((LIMIT, LIMIT // 2), Image.Resampling.BILINEAR)
    return Thumbnail(_png(image), edge * 3 // 2, edge * 3 // 4, pixelated=False)


def spectrogram(samples: NDArray[Any]) -> NDArray[Any]:
    """
    (time) → (frequency, frame) from 0 to 1, the loudest: short-time power spectra in decibels.

    0 is the median, or 40 dB below the loudest where that is louder: what stands out of steady
    noise is seen. At most 96 Hann windows of 256 samples, spread evenly over the recording.
    """
    signal = np.nan_to_num(samples.astype(np.float64), posinf=0.0, neginf=0.0)
    signal = np.pad(signal, (0, max(0, _WINDOW - signal.size)))
    frames = min(LIMIT, 1 + 4 * (signal.size - _WINDOW) // _WINDOW)
    starts = np.linspace(0, signal.size - _WINDOW, frames).astype(np.int64)
    windows = signal[starts[:, None] + np.arange(_WINDOW)] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(windows, axis=1)).T ** 2
    loudest = power.max()
    if loudest == 0:
        return power
    level = 10 * np.log10(np.maximum(power / loudest, 1e-12))
    floor = min(max(_FLOOR_DB, float(np.median(level))), _LEAST_FLOOR_DB)
    scaled: NDArray[Any] = np.clip(1 - level / floor, 0, 1)
    return scaled


def _png(image: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
