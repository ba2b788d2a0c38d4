"""Clips of ten seconds for the benchmarks, the same ones every time, and their bare decoding."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import processes

SECONDS, SOURCE_HZ, RATE_HZ = 10, 44_100, 16_000
FILES = 60


def clip(number: int) -> np.ndarray:
    """(time) float32: gliding tones over pink-like noise."""
    random = np.random.default_rng(number)
    time_s = np.arange(SECONDS * SOURCE_HZ) / SOURCE_HZ
    noise = random.normal(0, 0.02, len(time_s))
    sound = noise + np.convolve(noise, np.ones(32) / 8, mode="same")
    for _ in range(4):
        low, high = random.uniform(80, 4_000, 2)
        sound += 0.1 * np.sin(2 * np.pi * (low + (high - low) * time_s / SECONDS) * time_s)
    return np.clip(sound, -1, 1).astype(np.float32)


def write_clips(folder: Path, rows: int) -> list[str]:
    """`FILES` FLAC files of 16 bit, under as many names as there are rows."""
    import soundfile

    folder.mkdir(parents=True)
    names = [f"{row:06d}.flac" for row in range(rows)]
    for row, name in enumerate(names):
        if row < FILES:
            soundfile.write(folder / name, clip(row), SOURCE_HZ, subtype="PCM_16")
        else:
            os.link(folder / names[row % FILES], folder / name)
    return names


def decode_and_resample() -> Any:
    """What any reader of FLAC has to do, and no more."""
    import soundfile
    import soxr

    def decode(data: bytes) -> np.ndarray:
        sound, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32")
        return soxr.resample(sound, rate_hz, RATE_HZ, quality="HQ")

    return decode


def decoded(folder: Path, rows: int) -> float:
    """Seconds in which two processes decode and resample the clips, which lie in memory."""
    return processes.decoded(decode_and_resample, sorted(folder.glob("*.flac"))[:FILES], rows)
