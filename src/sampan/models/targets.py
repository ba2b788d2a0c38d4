"""What a model is trained towards: one value a row, for all rows of the dataset."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampan.errors import DataError
from sampan.models.features import Codes, kind_of_codes
from sampan.terminal import shortened

LARGEST = float(np.finfo(np.float32).max)
SHOWN = 10
"""Labels named in an error at most."""
ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class ClassTargets:
    """Classes to predict."""

    names: tuple[str, ...]
    """Classes, sorted."""
    codes: Codes
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


def class_targets(codes: Codes, labels: Sequence[str], used: NDArray[np.bool_]) -> ClassTargets:
    """
    Classes of `codes` (sample), positions in `labels` or -1, at rows that are `used` (sample) in
    any role; other rows get -1.

    A class that no training row has is kept: the model cannot predict it, and evaluation counts
    that.
    """
    slices = [slice(at, at + ROWS_AT_ONCE) for at in range(0, len(codes), ROWS_AT_ONCE)]
    counts = np.zeros(len(labels) + 1, np.int64)  # the first is of rows without a label
    for rows in slices:
        places = codes[rows][used[rows]].astype(np.int32) + 1
        counts += np.bincount(places, minlength=len(counts))
    names = tuple(sorted(label for label, n in zip(labels, counts[1:], strict=True) if n))
    if len(names) < 2:
        raise DataError(
            f"labels of the samples used: {', '.join(map(shortened, names)) or 'none'}; "
            "classification needs two classes or more"
        )
    position = {name: code for code, name in enumerate(names)}
    kind = kind_of_codes(len(names))
    places = np.array([*(position.get(label, -1) for label in labels), -1], kind)
    found = np.full(len(codes), -1, kind)
    for rows in slices:
        found[rows] = np.where(used[rows], places[codes[rows]], -1)
    return ClassTargets(names=names, codes=found)


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


def value_targets(
    labels: Iterable[tuple[int, Sequence[str | None] | NDArray[np.object_]]],
    used: NDArray[np.bool_],
) -> ValueTargets:
    """
    Numbers of the labels at rows that are `used` (sample), given as some rows' after the others'
    with the number of the first; `DataError` with the first ten that are no finite number, or one
    that no 32-bit float can hold: squares of larger ones are beyond all floats.
    """
    values = np.full(len(used), np.nan)
    wrong: list[tuple[int, str]] = []
    count = 0
    for first, some in labels:
        for row in np.flatnonzero(used[first : first + len(some)]).tolist():
            label = some[row]
            if label is None:
                continue
            values[first + row] = number = number_of(label)
            if not abs(number) <= LARGEST:
                count += 1
                if len(wrong) < SHOWN:
                    wrong.append((first + row, str(label)))
    if wrong:
        shown = ", ".join(f"{shortened(label)!r} (row {row})" for row, label in wrong)
        raise DataError(
            f"{count:,} labels are no finite numbers within ±{LARGEST:.3g}: {shown}"
            f"{', …' if count > SHOWN else ''}; regress needs them: mend or scale them, or "
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
