"""Metrics of classification and regression, with intervals."""

import numpy as np
from numpy.typing import NDArray

from sampan.evaluation.bootstrap import Metric, exact, intervals, intervals_of_kinds

SQUARES = (1e-100, 1e100)
"""Between these the square of a float is no 0 and no infinity."""


def classification_metrics(
    right: NDArray[np.int64],
    predicted: NDArray[np.int64],
    *,
    num_classes: int,
    resamples: int,
    seed: int,
) -> dict[str, Metric]:
    """
    `accuracy`, and `macro_f1`: the plain mean of the classes' F1 = 2 TP / (2 TP + FP + FN).

    `right` and `predicted` (sample) are class numbers below `num_classes`. A class that is neither
    among the right nor among the predicted ones of a resample has no F1 and is left out of its
    mean. Where all samples are right, or none is, the interval of `macro_f1` is the mean of the
    classes' own exact ones.
    """
    kinds, counts = np.unique(right * num_classes + predicted, return_counts=True)
    actual, claimed = np.divmod(kinds, num_classes)
    correct = actual == claimed

    def macro_f1(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        of_both = _by_class(drawn, actual, num_classes) + _by_class(drawn, claimed, num_classes)
        hits = _by_class(drawn[:, correct], actual[correct], num_classes)
        f1 = 2 * hits / np.maximum(of_both, 1)
        return np.asarray(f1.sum(axis=1) / (of_both > 0).sum(axis=1))

    found = intervals_of_kinds(
        {
            "accuracy": lambda drawn: drawn[:, correct].sum(axis=1) / len(right),
            "macro_f1": macro_f1,
        },
        counts,
        resamples=resamples,
        seed=seed,
        shares=("accuracy",),
    )
    if found["accuracy"]["value"] in (0, 1):
        of_class = np.unique(right, return_counts=True)[1].tolist()
        ends = np.mean([exact(bool(correct.all()), size) for size in of_class], axis=0)
        found["macro_f1"] |= {"low": float(ends[0]), "high": float(ends[1])}
    return found


def _by_class(
    drawn: NDArray[np.int64], classes: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    """(resample, kind), (kind) → (resample, class)."""
    found = np.zeros((len(drawn), num_classes), np.int64)
    order = np.argsort(classes, kind="stable")
    present, starts = np.unique(classes[order], return_index=True)
    if len(present):
        found[:, present] = np.add.reduceat(drawn[:, order], starts, axis=1)
    return found


def confusion_matrix(
    right: NDArray[np.int64], predicted: NDArray[np.int64], *, num_classes: int
) -> NDArray[np.int64]:
    """(right class, predicted class) counts of samples."""
    counts = np.bincount(right * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def regression_metrics(
    right: NDArray[np.float64], predicted: NDArray[np.float64], *, resamples: int, seed: int
) -> dict[str, Metric]:
    """
    `r2` = 1 - Σ (y - ŷ)² / Σ (y - ȳ)², and `mae`, the mean of |y - ŷ|, in the label's unit.

    Where all y are equal, r2 is 1 if every prediction is exact and 0 otherwise.
    """
    errors = right - predicted
    largest = max(np.abs(right).max(initial=0), np.abs(predicted).max(initial=0))
    unit = 1.0 if largest == 0 or SQUARES[0] < largest < SQUARES[1] else largest

    def r2(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        residual = ((errors / unit)[numbers] ** 2).sum(axis=1)
        wanted = (right / unit)[numbers]
        total = ((wanted - wanted.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        flat = np.ptp(wanted, axis=1) == 0
        return np.asarray(np.where(flat, residual == 0, 1 - residual / np.where(flat, 1, total)))

    return intervals(
        {"r2": r2, "mae": lambda numbers: np.asarray(np.abs(errors)[numbers].mean(axis=1))},
        len(right),
        resamples=resamples,
        seed=seed,
    )
