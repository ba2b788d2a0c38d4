"""Stored modalities, as far as an encoder looks at them."""

from dataclasses import dataclass

import numpy as np

from sampan.plugins import ArraySpec


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A stored modality, as far as an encoder looks at it."""

    spec: ArraySpec
    kind: str
    rate_hz: int | None = None
    fit: str = "crop"

    def array(self) -> ArraySpec:
        return self.spec


def pictures(height: int, width: int, channels: int = 3, fit: str = "crop") -> Stored:
    return Stored(
        kind="image",
        spec=ArraySpec(("y", "x", "channel"), (height, width, channels), "uint8"),
        fit=fit,
    )


def texts(num_bytes: int = 256) -> Stored:
    return Stored(kind="text", spec=ArraySpec(("byte",), (num_bytes,), "uint8"))


def text_rows(strings: list[str], num_bytes: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Texts as they are stored: (sample, byte) uint8, and bytes used of each."""
    data = np.zeros((len(strings), num_bytes), np.uint8)
    for row, text in zip(data, strings, strict=True):
        row[: len(text.encode())] = list(text.encode())
    return data, np.array([len(text.encode()) for text in strings], np.int32)


def sounds(rate_hz: int, seconds: float, dtype: str = "float32") -> Stored:
    spec = ArraySpec(("time",), (round(rate_hz * seconds),), dtype)
    return Stored(kind="audio", spec=spec, rate_hz=rate_hz)
