"""Small synthetic samples in memory, the same on every machine."""

import io
from typing import Any

CAPTIONS = (
    "a red lighthouse on a rock",
    "Ein Kätzchen schläft.",
    "два кота и собака",
    "赤い灯台",
    "שלום עולם",
    "👩‍🚀 on the moon",
)


def captions() -> list[bytes]:
    """Texts of several scripts in UTF-8."""
    return [caption.encode() for caption in CAPTIONS]


def image(
    file_format: str = "PNG",
    *,
    mode: str = "RGB",
    height: int = 48,
    width: int = 64,
    seed: int = 0,
    **options: Any,
) -> bytes:
    """
    A smooth coloured pattern as a file of any format and mode that Pillow writes.

    Smooth, so that lossy formats and resizing change it little; `options` go to Pillow's `save`.
    """
    import numpy as np
    import PIL.Image

    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [
        np.sin(2 * np.pi * (cycles_y * y + cycles_x * x) + phase)
        for cycles_y, cycles_x, phase in random.uniform((0.5, 0.5, 0), (2, 2, 6), size=(3, 3))
    ]
    pixels = np.rint(127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)
    if mode == "I;16":
        picture = PIL.Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        picture = PIL.Image.fromarray(pixels).convert(mode)
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def tone(
    file_format: str = "WAV",
    *,
    frequency_hz: float = 440.0,
    seconds: float = 0.5,
    rate_hz: int = 16_000,
    channels: int = 1,
    subtype: str | None = None,
) -> bytes:
    """A sine of amplitude 0.5 in every channel, as a file of any format that libsndfile writes."""
    import numpy as np
    import soundfile

    time = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = 0.5 * np.sin(2 * np.pi * frequency_hz * time)
    file = io.BytesIO()
    sound = np.repeat(wave[:, None], channels, axis=1)
    soundfile.write(file, sound, rate_hz, format=file_format, subtype=subtype)
    return file.getvalue()


def no_files() -> list[bytes]:
    """What is no file of any format: nothing, one byte, a web page, zeros, a run of every byte."""
    page = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
    return [b"", b"\x89", page, bytes(4096), bytes(range(256)) * 16]
