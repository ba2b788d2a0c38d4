"""
Retrieval among all items of a test split: seconds of both directions beside those of their product.

    python benchmarks/search.py [--items 100000] [--dimensions 256]
"""

import argparse
import time

import goals
import numpy as np
from goals import Found, Report
from threadpoolctl import threadpool_limits

from sampan.evaluation.bootstrap import interval_of_median
from sampan.evaluation.retrieval import retrieval_metrics, retrieve

THREADS = 2
PRODUCT_ROWS = 4096


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=256)


def measure(args: argparse.Namespace) -> Report:
    items, dimensions = args.items, args.dimensions
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

    medians = {}
    for size in (1_000, 100_000, 10_000_000):
        start = time.perf_counter()
        interval_of_median(np.arange(size), resamples=1000, seed=0)
        medians[f"median's interval of {size:,}, s"] = round(time.perf_counter() - start, 3)
    return Report(
        [
            Found(
                hop=f"retrieval among {items:,} items of {dimensions}, both directions",
                measured=f"seconds on {THREADS} threads",
                values=(searched,),
                goal=60,
                at_most=True,
                unit="s",
                note="one run",
            )
        ],
        {
            "retrieval ÷ bare products": round(searched / product, 2),
            "metrics of retrieval with intervals, s": round(measured, 2),
            **medians,
        },
    )


def product_seconds(one: np.ndarray, other: np.ndarray) -> float:
    """Of both directions, from a part of the rows."""
    rows = one[:PRODUCT_ROWS]
    with threadpool_limits(THREADS):
        start = time.perf_counter()
        for left in range(0, len(other), 2048):
            rows @ other[left : left + 2048].T
        return 2 * (time.perf_counter() - start) * len(one) / len(rows)


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
