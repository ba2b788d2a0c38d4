"""
Rows a second of a training feed whose files are not in memory: in order, shuffled, by windows.

    python benchmarks/feed.py [--rows 2000000] [--folder FOLDER]

Features of 512 float16 in shards of 4 MiB on a disk, in batches of 256 through `BatchFeed`. Before
each way the files' pages are dropped. Windows hold a sixteenth of the rows. The full shuffle reads
some batches only: each row costs a page's read from the disk.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import goals
import numpy as np
from goals import Found, Report, in_turns, ratios
from numpy.typing import NDArray

from sampan.plugins import ArraySpec
from sampan.store.layout import ArrayLayout
from sampan.store.read import Reader
from sampan.store.shard import ShardWriter
from sampan.training import sampling
from sampan.training.feed import BatchFeed, read_ahead

DIMENSIONS = 512
BATCH = 256
SHUFFLED_BATCHES = 100
"""Of the full shuffle."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))


def measure(args: argparse.Namespace) -> Report:
    folder = args.folder / "feed-benchmark"
    shutil.rmtree(folder, ignore_errors=True)
    layout = write(folder, args.rows)
    numbers = range(sampling.num_batches(args.rows, BATCH))
    rows = np.arange(args.rows, dtype=np.uint32)

    def in_order(reader: Reader) -> Iterable[NDArray[np.int64]]:
        return (np.arange(at, min(at + BATCH, args.rows)) for at in range(0, args.rows, BATCH))

    def shuffled(reader: Reader) -> Iterable[NDArray[np.int64]]:
        return sampling.batches(rows, numbers[:SHUFFLED_BATCHES], batch_size=BATCH, seed=0)

    def by_windows(reader: Reader) -> Iterable[NDArray[np.int64]]:
        how: dict[str, Any] = {"batch_size": BATCH, "seed": 0, "window": args.rows // 16}

        def fetch(stretches: list[range]) -> None:
            for stretch in stretches:
                reader.fetch(stretch.start, stretch.stop)

        windows = sampling.windows(args.rows, numbers, **how)
        return read_ahead(sampling.batches(rows, numbers, **how), 0, windows, fetch)

    ways: dict[str, Callable[[Reader], Iterable[NDArray[np.int64]]]] = {
        "in order": in_order,
        "windows": by_windows,
        "shuffled": shuffled,
    }
    seen = in_turns(
        {name: lambda way=way: rate(folder, layout, way) for name, way in ways.items()},
        args.repeats,
    )
    shutil.rmtree(folder)
    return Report(
        [
            Found(
                hop="training feed from a disk, 1 KiB a row",
                measured="shuffled by windows ÷ in order",
                values=ratios(seen["windows"], seen["in order"]),
                goal=0.8,
            ),
            Found(
                hop="training feed from a disk, 1 KiB a row",
                measured="shuffled by windows ÷ full shuffle",
                values=ratios(seen["windows"], seen["shuffled"]),
                goal=8,
            ),
        ],
        {f"feed {name}, rows/s": [round(value) for value in found] for name, found in seen.items()},
    )


def write(folder: Path, rows: int) -> ArrayLayout:
    layout = ArrayLayout(
        spec=ArraySpec(("embedding",), (DIMENSIONS,), "float16"),
        rows_per_chunk=2048,
        rows_per_shard=4096,
    )
    block = np.random.default_rng(0).random((4096, DIMENSIONS)).astype(np.float16)
    for first in range(0, rows, 4096):
        path = folder / layout.shard_file(first // 4096)
        path.parent.mkdir(parents=True, exist_ok=True)
        with ShardWriter(path, layout) as writer:
            writer.write(block[: min(4096, rows - first)])
            writer.close()
    os.sync()
    return layout


def rate(
    folder: Path,
    layout: ArrayLayout,
    way: Callable[[Reader], Iterable[NDArray[np.int64]]],
) -> float:
    """Rows a second, from files whose pages were dropped."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    reader = Reader(folder, layout)
    began, count = time.perf_counter(), 0
    with BatchFeed({"features": reader}, way(reader)) as feed:
        for rows, _ in feed:
            count += len(rows)
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
