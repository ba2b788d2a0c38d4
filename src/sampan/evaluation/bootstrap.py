"""
Percentile bootstrap intervals (Efron and Tibshirani, 1993, chapter 13).

Resamples of samples that are all alike are all alike too: a share of 0 or 1 would have an interval
of no width however few samples there are. There the exact interval takes its place (Clopper and
Pearson, 1934).
"""

from collections.abc import Callable, Collection, Mapping
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from sampan.errors import DataError

Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""(resample, sample) numbers of samples → (resample)."""

LEVEL = 0.95
DRAWS_AT_ONCE = 2**21


class Metric(TypedDict):
    """A value and the 95 % interval around it."""

    value: float
    low: float
    high: float


def intervals(
    statistics: Mapping[str, Statistic],
    samples: int,
    *,
    resamples: int,
    seed: int,
    shares: Collection[str] = (),
) -> dict[str, Metric]:
    """
    Each statistic of all samples, with the 2.5th and 97.5th percentile over the resamples.

    All statistics see the same resamples: `samples` numbers below `samples`, drawn with
    replacement. Those named in `shares` are shares of the samples: of none or all of them the
    interval is the exact one. `DataError` where there is no sample.
    """
    if samples == 0:
        raise DataError("the test split has no samples to evaluate; change the split")
    everything = np.arange(samples)[None]
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    generator = np.random.Generator(np.random.PCG64(seed))
    at_once = max(1, DRAWS_AT_ONCE // samples)
    for first in range(0, resamples, at_once):
        size = (min(at_once, resamples - first), samples)
        numbers = generator.integers(samples, size=size)
        for name, statistic in statistics.items():
            drawn[name].append(statistic(numbers))
    result: dict[str, Metric] = {}
    for name, statistic in statistics.items():
        tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
        low, high = np.quantile(np.concatenate(drawn[name]), tails)
        value = float(statistic(everything)[0])
        if name in shares and value in (0, 1):
            low, high = exact(bool(value), samples)
        result[name] = {"value": value, "low": float(low), "high": float(high)}
    return result


def exact(all_of_them: bool, samples: int) -> tuple[float, float]:
    """The 95 % interval of a share, where all of so many samples count, or none."""
    bound = ((1 - LEVEL) / 2) ** (1 / samples)
    return (bound, 1.0) if all_of_them else (0.0, 1 - bound)
