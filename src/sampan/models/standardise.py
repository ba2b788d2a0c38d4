"""Mean and deviation of features, learnt in a stream."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampan.errors import DataError
from sampan.models.features import Features, Rows

ROWS_AT_ONCE = 8192
FLOOR = 0.1
"""Smallest divisor of a dimension, as a fraction of the root mean square deviation over all."""


@dataclass(frozen=True, kw_only=True)
class Standardisation:
    """What is subtracted from features and what the rest is divided by: (embedding) each."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


def learn_standardisation(features: Features, rows: Rows) -> Standardisation:
    """
    Mean and standard deviation over `rows`, which are the training rows and no others.

    One pass in 64-bit floats, chunks merged by Chan, Golub and LeVeque, "Updating Formulae and a
    Pairwise Algorithm for Computing Sample Variances" (1979). A dimension that hardly varies would
    be blown up to the weight of all others by its few deviants, so the divisor is at least `FLOOR`
    times the root mean square deviation of all dimensions; where nothing varies it is 1. A value
    that is not finite is a `DataError`.
    """
    count = 0
    mean = np.zeros(features.dimensions)
    squares = np.zeros(features.dimensions)
    for chunk in _chunks(features, rows):
        if not np.isfinite(chunk).all():
            raise DataError(
                f"{int((~np.isfinite(chunk)).any(axis=1).sum()):,} training samples that are "
                "marked valid have features that are not finite; extract them anew"
            )
        shift = chunk.mean(axis=0) - mean
        total = count + len(chunk)
        squares += ((chunk - chunk.mean(axis=0)) ** 2).sum(axis=0)
        squares += shift**2 * count * len(chunk) / total
        mean += shift * len(chunk) / total
        count = total
    deviation = np.sqrt(squares / count)
    floor = FLOOR * np.sqrt(np.mean(deviation**2))
    deviation = np.maximum(deviation, floor) if floor > 0 else np.ones_like(deviation)
    return Standardisation(mean=mean.astype(np.float32), deviation=deviation.astype(np.float32))


def _chunks(features: Features, rows: Rows) -> Iterator[NDArray[np.float64]]:
    for first in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[first : first + ROWS_AT_ONCE].astype(np.int64)
        yield features.take(some).astype(np.float64)
