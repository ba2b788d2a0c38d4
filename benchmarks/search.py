"""
Retrieval among all items of a test split: seconds of both directions beside those of their product.

    python benchmarks/search.py [items, default 100000] [dimensions, default 256]
"""

import sys
import time

import numpy as np
from threadpoolctl import threadpool_limits

from sampan.evaluation.bootstrap import interval_of_median
from sampan.evaluation.retrieval import retrieval_metrics, retrieve

THREADS = 2
PRODUCT_ROWS = 4096


def main(items: int = 100_000, dimensions: int = 256) -> None:
    generator = np.random.default_rng(0)
    one, other = generator.standard_normal((2, items, dimensions), np.float32)
    contents = np.arange(items)
    product = product_seconds(one, other)

    start = time.perf_counter()
    found = {
        pair: retrieve(
            *vectors, contents, nearest=5, most_items=10 * items, seed=0, threads=THREADS
        )
        for pair, vectors in {("a", "b"): (one, other), ("b", "a"): (other, one)}.items()
    }
    searched = time.perf_counter() - start
    start = time.perf_counter()
    retrieval_metrics(found, resamples=1000, seed=0)
    measured = time.perf_counter() - start

    print(f"{items:,} items of {dimensions} dimensions, {THREADS} threads, both directions")
    print(f"  search          {searched:8.1f} s    goal at 100,000: 60 s")
    print(f"  ÷ bare products {searched / product:8.2f}")
    print(f"  metrics with intervals {measured:.2f} s")
    for size in (1_000, 100_000, 10_000_000):
        start = time.perf_counter()
        interval_of_median(np.arange(size), resamples=1000, seed=0)
        print(f"  median's interval of {size:,}: {time.perf_counter() - start:.3f} s")


def product_seconds(one: np.ndarray, other: np.ndarray) -> float:
    """Of both directions, from a part of the rows."""
    rows = one[:PRODUCT_ROWS]
    with threadpool_limits(THREADS):
        start = time.perf_counter()
        for left in range(0, len(other), 2048):
            rows @ other[left : left + 2048].T
        return 2 * (time.perf_counter() - start) * len(one) / len(rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
