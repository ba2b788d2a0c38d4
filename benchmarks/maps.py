"""
Random rows of one array that has more and more shards: the rate must not fall off a wall.

    python benchmarks/maps.py [--shards 1000 4000 …]

Rows of 64 bytes whose pages are warm, the best of seven.
"""

import argparse
import shutil
import time
from pathlib import Path

import goals
import jobs
import numpy as np
from goals import Found, Report

from sampan.plugins import ArraySpec
from sampan.store.layout import ArrayLayout
from sampan.store.read import Reader
from sampan.store.shard import ShardWriter

LAYOUT = ArrayLayout(
    spec=ArraySpec(("embedding",), (32,), "float16"), rows_per_chunk=512, rows_per_shard=512
)
ROWS = 200_000


def arguments(parser: argparse.ArgumentParser) -> None:
    sizes = [1_000, 4_000, 8_000, 9_000, 20_000, 30_000]
    parser.add_argument("--shards", type=int, nargs="+", default=sizes)
    parser.add_argument("--folder", type=Path, default=jobs.IN_MEMORY)


def measure(args: argparse.Namespace) -> Report:
    folder = args.folder / "maps-benchmark"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write(folder, max(args.shards))
    rates = {shards: rows_per_second(folder, shards) for shards in args.shards}
    shutil.rmtree(folder)
    return Report(
        [
            Found(
                hop=f"random rows of {min(rates):,} to {max(rates):,} shards",
                measured="the least rate ÷ that of the fewest",
                values=(min(rates.values()) / rates[min(rates)],),
                goal=0.8,
                note="one run",
            )
        ],
        {f"random rows/s, {shards:,} shards": round(rate) for shards, rate in rates.items()},
    )


def write(folder: Path, shards: int) -> None:
    rows = np.zeros((LAYOUT.rows_per_shard, 32), np.float16)
    for shard in range(shards):
        with ShardWriter(folder / LAYOUT.shard_file(shard), LAYOUT) as writer:
            writer.write(rows)
            writer.close()


def rows_per_second(folder: Path, shards: int) -> float:
    reader = Reader(folder, LAYOUT)
    generator = np.random.default_rng(0)
    total = shards * LAYOUT.rows_per_shard
    reader.take(np.arange(0, total, LAYOUT.rows_per_shard))
    best = 0.0
    for _ in range(7):
        rows = generator.integers(total, size=ROWS)
        start = time.perf_counter()
        for some in np.split(rows, ROWS // 1000):
            reader.take(some)
        best = max(best, ROWS / (time.perf_counter() - start))
    return best


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
