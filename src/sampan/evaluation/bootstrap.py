"""Percentile bootstrap intervals (Efron and Tibshirani, 1993, chapter 13)."""

from collections.abc import Callable, Mapping
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
    statistics: Mapping[str, Statistic], samples: int, *, resamples: int, seed: int
) -> dict[str, Metric]:
    """
    Each statistic of all samples, with the 2.5th and 97.5th percentile over the resamples.

    All statistics see the same resamples: `samples` numbers below `samples`, drawn with
    replacement. `DataError` where there is no sample.
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
        result[name] = {"value": value, "low": float(low), "high": float(high)}
    return result
