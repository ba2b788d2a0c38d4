"""What a model is trained towards: one value a row, for all rows of the dataset."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampan.errors import DataError
from sampan.terminal import shortened

LARGEST = float(np.finfo(np.float32).max)
SHOWN = 10
"""Labels named in an error at most."""


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
            f"labels of the samples used: {', '.join(map(shortened, names)) or 'none'}; "
            "classification needs two classes or more"
        )
    code = {name: position for position, name in enumerate(names)}
    codes = np.full(len(labels), -1, dtype=np.int64)
    codes[rows] = [code[label] if (label := labels[row]) is not None else -1 for row in rows]
    return ClassTargets(names=names, codes=codes)


def find_alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Classes that are the same number, or look the same: most likely one class."""
    found: dict[str | float, list[str]] = {}
    for name in names:
        number = number_of(name)
        found.setdefault(_looks(name) if np.isnan(number) else number, []).append(name)
    return [tuple(group) for group in found.values() if len(group) > 1]


def _looks(name: str) -> str:
    """A text without case, widths of letters, white space and what is not seen."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    seen = (sign for sign in plain if unicodedata.category(sign) not in ("Cf", "Cc"))
    return "".join("".join(seen).split())


def value_targets(labels: Sequence[str | float | None], rows: NDArray[np.int64]) -> ValueTargets:
    """
    Numbers of the labels at `rows`; `DataError` with the first ten that are no finite number, or
    one that no 32-bit float can hold: squares of larger ones are beyond all floats.
    """
    values = np.full(len(labels), np.nan)
    wrong = []
    for row in rows:
        label = labels[row]
        if label is None:
            continue
        values[row] = number_of(label)
        if not abs(values[row]) <= LARGEST:
            wrong.append((int(row), str(label)))
    if wrong:
        first = ", ".join(f"{shortened(label)!r} (row {row})" for row, label in wrong[:SHOWN])
        raise DataError(
            f"{len(wrong):,} labels are no finite numbers within ±{LARGEST:.3g}: {first}"
            f"{', …' if len(wrong) > SHOWN else ''}; regress needs them: mend or scale them, or "
            "empty their cells, which leaves the samples out"
        )
    return ValueTargets(values=values)


def number_of(label: str | float) -> float:
    """A label as a number; NaN where it is none. `1_000` is a name, whatever Python says."""
    if isinstance(label, str) and "_" in label:
        return np.nan
    try:
        return float(label)
    except (ValueError, OverflowError):
        return np.nan
