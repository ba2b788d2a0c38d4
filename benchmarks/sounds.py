"""Clips of ten seconds for the benchmarks, the same ones every time, and their bare decoding."""

import io
import multiprocessing as mp
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

SECONDS, SOURCE_HZ, RATE_HZ = 10, 44_100, 16_000
FILES = 60
WORKERS = 2


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


def decoded(folder: Path, rows: int) -> float:
    """Seconds in which two processes decode and resample the clips, which lie in memory."""
    context = mp.get_context("spawn")
    ready, go = context.Barrier(WORKERS + 1), context.Barrier(WORKERS + 1)
    workers = [
        context.Process(target=_worker, args=(folder, rows // WORKERS, ready, go))
        for _ in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    go.wait()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return time.perf_counter() - began


def _worker(folder: Path, rows: int, ready: Any, go: Any) -> None:
    import soundfile
    import soxr

    contents = [path.read_bytes() for path in sorted(folder.glob("*.flac"))[:FILES]]

    def decode(data: bytes) -> np.ndarray:
        sound, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32")
        return soxr.resample(sound, rate_hz, RATE_HZ, quality="HQ")

    decode(contents[0])
    ready.wait()
    go.wait()
    for row in range(rows):
        decode(contents[row % len(contents)])
    os._exit(0)
