"""
Percentile bootstrap intervals (Efron and Tibshirani, 1993, chapter 13).

A resample of n samples is known by how often it holds each of them. A statistic of which samples
differ in a few ways only needs no more than how many of each kind it holds, which is one draw from
a multinomial distribution; and a median needs only the draw's middle, which the beta distribution
gives. Both are distributed as with n draws a resample, and cost nothing for each sample.

Resamples of samples that are all alike are all alike too: a share of 0 or 1 would have an interval
of no width however few samples there are. There the exact interval takes its place (Clopper and
Pearson, 1934).
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from sampan.errors import DataError

Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""(resample, sample) numbers of samples → (resample)."""
CountStatistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""(resample, kind) how many samples of each kind → (resample)."""

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
    _some(samples)
    generator = _generator(seed)
    return _measured(
        statistics,
        np.arange(samples)[None],
        lambda size: generator.integers(samples, size=(size, samples)),
        resamples,
    )


def intervals_of_kinds(
    statistics: Mapping[str, CountStatistic],
    counts: NDArray[np.int64],
    *,
    resamples: int,
    seed: int,
    shares: Collection[str] = (),
) -> dict[str, Metric]:
    """
    The same of statistics of how many samples are of each kind; `counts` (kind) are those of all.

    Those named in `shares` are shares of the samples: of none or all of them the interval is the
    exact one. `DataError` where there is no sample.
    """
    samples = int(counts.sum())
    _some(samples)
    generator = _generator(seed)
    found = _measured(
        statistics,
        counts[None],
        lambda size: generator.multinomial(samples, counts / samples, size=size),
        resamples,
    )
    for name in shares:
        value = found[name]["value"]
        if value in (0, 1):
            low, high = exact(bool(value), samples)
            found[name] |= {"low": low, "high": high}
    return found


def interval_of_median(values: NDArray[Any], *, resamples: int, seed: int) -> Metric:
    """
    The median of `values` (sample) with its interval.

    Of n uniform draws the k-th smallest is distributed as Beta(k, n + 1 - k), and the next one as
    the least of the n - k that lie above it (David and Nagaraja, 2003, sections 2.1 and 2.5); the
    sample below which such a share lies is what the resample has there. `DataError` where there is
    no sample.
    """
    samples = len(values)
    _some(samples)
    ordered, generator = np.sort(values), _generator(seed)
    middle = (samples + 1) // 2
    share = generator.beta(middle, samples + 1 - middle, size=resamples)
    found = ordered[_places(share, samples)].astype(np.float64)
    if samples % 2 == 0:
        least = 1 - generator.random(resamples) ** (1 / (samples - middle))
        found = (found + ordered[_places(share + (1 - share) * least, samples)]) / 2
    return _metric(float(np.median(values)), found)


def exact(all_of_them: bool, samples: int) -> tuple[float, float]:
    """The 95 % interval of a share, where all of so many samples count, or none."""
    bound = ((1 - LEVEL) / 2) ** (1 / samples)
    return (bound, 1.0) if all_of_them else (0.0, 1 - bound)


def _some(samples: int) -> None:
    if samples == 0:
        raise DataError("the test split has no samples to evaluate; change the split")


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _measured(
    statistics: Mapping[str, Callable[[NDArray[np.int64]], NDArray[np.float64]]],
    everything: NDArray[np.int64],
    draw: Callable[[int], NDArray[np.int64]],
    resamples: int,
) -> dict[str, Metric]:
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    at_once = max(1, DRAWS_AT_ONCE // everything.shape[1])
    for first in range(0, resamples, at_once):
        resample = draw(min(at_once, resamples - first))
        for name, statistic in statistics.items():
            drawn[name].append(statistic(resample))
    return {
        name: _metric(float(statistic(everything)[0]), np.concatenate(drawn[name]))
        for name, statistic in statistics.items()
    }


def _metric(value: float, drawn: NDArray[np.float64]) -> Metric:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"value": value, "low": float(low), "high": float(high)}


def _places(shares: NDArray[np.float64], samples: int) -> NDArray[np.intp]:
    return np.minimum((shares * samples).astype(np.intp), samples - 1)
