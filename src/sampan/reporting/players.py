"""Sounds to listen to, inside the page, as long as there is room for them."""

import base64
import io

import numpy as np

from sampan.reporting.data import Sound

SECONDS = 10.0
"""Of a sound that are played at most."""
PAGE_BYTES = 2_000_000
"""Of all sounds of a page together, as they stand in it."""
MP3_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
FLAC_RATES_HZ = range(1, 655_351)


class Players:
    """Encodes sounds for one page until its room is used up; MP3 where the rate allows it."""

    def __init__(self, most_bytes: int = PAGE_BYTES) -> None:
        self._left = most_bytes
        self.left_out = 0
        """Sounds for which there was no room."""

    def address(self, sound: Sound) -> str | None:
        """A `data:` address of the beginning of a sound; None where there is no room."""
        kind = _kind(sound.rate_hz)
        if kind is None:
            return None
        encoded = _encoded(sound, kind)
        address = f"data:audio/{_MIME[kind]};base64,{base64.b64encode(encoded).decode('ascii')}"
        if len(address) > self._left:
            self.left_out += 1
            return None
        self._left -= len(address)
        return address


_MIME = {"MP3": "mpeg", "FLAC": "flac"}


def _kind(rate_hz: float) -> str | None:
    if rate_hz in MP3_RATES_HZ:
        return "MP3"
    return "FLAC" if rate_hz in FLAC_RATES_HZ else None


def _encoded(sound: Sound, kind: str) -> bytes:
    import soundfile

    samples = sound.samples[: round(SECONDS * sound.rate_hz)]
    if samples.dtype != np.int16:
        wave = np.nan_to_num(samples.astype(np.float64), posinf=0.0, neginf=0.0)
        if np.issubdtype(samples.dtype, np.integer):
            wave /= np.iinfo(samples.dtype).max
        peak = float(np.abs(wave).max(initial=0.0))
        samples = np.rint(wave / max(peak, 1.0) * 32_767).astype(np.int16)
    stream = io.BytesIO()
    soundfile.write(stream, samples, int(sound.rate_hz), format=kind)
    return stream.getvalue()
