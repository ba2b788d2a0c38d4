"""What a model is trained towards: one value a row, for all rows of the dataset."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampan.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ClassTargets:
    """Classes to predict."""

    names: tuple[str, ...]
    """Classes, sorted."""
    codes: NDArray[np.int64]
    """(sample) positions in `names`; -1 without a label."""


@dataclass(frozen=True, kw_only=True)
class ValueTargets:
    """Numbers to predict."""

    values: NDArray[np.float64]
    """(sample) in the label's own unit; NaN without a label."""


@dataclass(frozen=True, kw_only=True)
class ContentTargets:
    """What each row holds in each modality, so that equal content is never told apart."""

    contents: Mapping[str, NDArray[np.int64]]
    """Modality → (sample); two rows have the same number just where their content is identical."""


Targets = ClassTargets | ValueTargets | ContentTargets


def class_targets(labels: Sequence[str | None], rows: NDArray[np.int64]) -> ClassTargets:
    """
    Classes of the labels at `rows` (those used in any role); other rows get -1.

    A class that no training row has is kept: the model cannot predict it, and evaluation counts
    that.
    """
    used = [label for label in (labels[row] for row in rows) if label is not None]
    names = tuple(sorted(set(used)))
    if len(names) < 2:
        raise DataError(
            f"labels of the samples used: {', '.join(names) or 'none'}; "
            "classification needs two classes or more"
        )
    code = {name: position for position, name in enumerate(names)}
    codes = np.full(len(labels), -1, dtype=np.int64)
    codes[rows] = [code[label] if (label := labels[row]) is not None else -1 for row in rows]
    return ClassTargets(names=names, codes=codes)


def value_targets(labels: Sequence[str | float | None], rows: NDArray[np.int64]) -> ValueTargets:
    """Numbers of the labels at `rows`; `DataError` with the first ten that are no finite number."""
    values = np.full(len(labels), np.nan)
    wrong = []
    for row in rows:
        label = labels[row]
        with suppress(ValueError):
            values[row] = np.nan if label is None else float(label)
        if label is not None and not np.isfinite(values[row]):
            wrong.append((int(row), label))
    if wrong:
        first = ", ".join(f"{label!r} (row {row})" for row, label in wrong[:10])
        raise DataError(f"{len(wrong):,} labels are no finite numbers: {first}; regress needs them")
    return ValueTargets(values=values)
