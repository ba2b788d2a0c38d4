"""
Random rows of one array that has more and more shards: the rate must not fall off a wall.

    python benchmarks/maps.py [shards …]
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sampan.plugins import ArraySpec
from sampan.store.layout import ArrayLayout
from sampan.store.read import Reader
from sampan.store.shard import ShardWriter

LAYOUT = ArrayLayout(
    spec=ArraySpec(("embedding",), (32,), "float16"), rows_per_chunk=512, rows_per_shard=512
)
ROWS = 200_000


def main(sizes: list[int]) -> None:
    print("shards    random 64-byte rows/s, all mapped    as a share of the first")
    first = None
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), max(sizes))
        for shards in sizes:
            rate = rows_per_second(Path(folder), shards)
            first = first or rate
            print(f"{shards:6,}    {rate:15,.0f}    {rate / first:.2f}")
    print("goal: 0.8 or more from 1,000 to 20,000")


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
    main([int(word) for word in sys.argv[1:]] or [1_000, 4_000, 8_000, 9_000, 20_000, 30_000])
