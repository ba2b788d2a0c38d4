"""Count the rows of an index, a batch at a time: splits, labels, and rows that cannot be used."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.config.split import SplitSettings
from sampan.index.parts import Index
from sampan.index.splits import NAMES, split_of
from sampan.reporting.data import Reason, Rejected
from sampan.training.targets import LARGEST, number_of

NO_SPLIT, NO_LABEL = "none", "no label"
LABELS_COUNTED = 10_000
"""Different labels that are counted one by one; those first seen later share a count."""
LOOKED_AT = 2_000
"""Rows of a split among which examples are chosen."""
REJECTED_SHOWN = 3


@dataclass
class Census:
    """
    What an index holds; rows with a reason against them count as refused and nothing else.

    Memory grows with the numbers of different labels and reasons, and where labels are `numeric`
    by 8 bytes a row.
    """

    split: SplitSettings
    labelled: bool
    numeric: bool
    splits: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    _values: list[NDArray[np.float64]] = field(default_factory=list)
    _rejected: dict[str, list[Rejected]] = field(default_factory=dict)
    _pools: dict[str, list[tuple[int, str | None]]] = field(
        default_factory=lambda: {name: [] for name in NAMES}
    )

    def count(self, first: int, batch: Mapping[str, list[Any]]) -> None:
        """Take in rows [first, first + batch)."""
        reasons = np.array(batch["reason"], object)
        used = reasons == None  # noqa: E711 # elementwise
        for i in np.flatnonzero(~used).tolist():
            self._refuse(first + i, batch["key"][i], reasons[i])
        rows = first + np.flatnonzero(used)
        splits = self._splits(batch)[used]
        labels = np.array(batch["label"], object)[used]
        self.splits.update(splits)
        if self.numeric:
            self._values.append(np.array([_number(label) for label in labels], np.float64))
        elif self.labelled:
            for (label, split), times in Counter(zip(labels, splits, strict=True)).items():
                self._label(label)[split] += times
        for split, pool in self._pools.items():
            if len(pool) < LOOKED_AT:
                for i in np.flatnonzero(splits == split)[: LOOKED_AT - len(pool)]:
                    pool.append((int(rows[i]), labels[i]))

    def _splits(self, batch: Mapping[str, list[Any]]) -> NDArray[np.object_]:
        group, key = np.array(batch["group"], object), np.array(batch["key"], object)
        groups = np.where(group == None, key, group)  # noqa: E711 # elementwise
        given = np.array(batch["split"], object) if self.split.column else None
        found = split_of(self.split, groups, given)
        return np.where(found == None, NO_SPLIT, found)  # noqa: E711 # elementwise

    def _label(self, label: str | None) -> Counter[str]:
        name = NO_LABEL if label is None else label
        if name not in self.labels and len(self.labels) >= LABELS_COUNTED:
            name = f"not among the first {LABELS_COUNTED:,}"
        return self.labels.setdefault(name, Counter())

    def _refuse(self, row: int, key: str, reason: str) -> None:
        name, _, detail = reason.partition(": ")
        self.refused[name] += 1
        examples = self._rejected.setdefault(name, [])
        if len(examples) < REJECTED_SHOWN:
            examples.append(Rejected(key=key, cell=f"row {row:,}", detail=detail))

    @property
    def reasons(self) -> list[Reason]:
        """Why rows were refused, the most frequent first."""
        ordered = sorted(self.refused.items(), key=lambda item: (-item[1], item[0]))
        return [
            Reason(reason=name, count=times, examples=self._rejected[name])
            for name, times in ordered
        ]

    @property
    def values(self) -> NDArray[np.float64] | None:
        """(sample) of numeric labels, NaN where there is none."""
        return np.concatenate([np.zeros(0), *self._values]) if self.numeric else None

    def examples(
        self, most: int, faults: Callable[[NDArray[np.int64]], NDArray[np.int64]] | None = None
    ) -> dict[int, str | None]:
        """
        Row → split: early rows of each split in turn, labels not shown yet before others.

        Rows for which `faults` (sample) → (sample) counts less come first.
        """
        pools = {split: list(pool) for split, pool in self._pools.items()}
        rows = np.array([row for pool in pools.values() for row, _ in pool], np.int64)
        wrong = dict(
            zip(rows.tolist(), faults(rows).tolist() if faults else [0] * len(rows), strict=True)
        )
        chosen: dict[int, str | None] = {}
        shown: Counter[str | None] = Counter()
        while len(chosen) < most and any(pools.values()):
            for split in [name for name in NAMES if pools[name]][: most - len(chosen)]:
                best = min(pools[split], key=lambda it: (wrong[it[0]], shown[it[1]], it[0]))
                pools[split].remove(best)
                shown[best[1]] += 1
                chosen[best[0]] = split
        return dict(sorted(chosen.items()))


def take_census(index: Index, split: SplitSettings, *, labelled: bool, numeric: bool) -> Census:
    """One pass over the index."""
    found = Census(split=split, labelled=labelled, numeric=numeric)
    for part in index.parts():
        columns = ("key", "reason", "label", "group", "split")
        known = [name for name in columns if name in part.columns]
        first = part.first
        for batch in part.batches(known):
            size = len(batch["key"])
            found.count(first, {name: batch.get(name, [None] * size) for name in columns})
            first += size
    return found


def _number(label: str | None) -> float:
    """A label that a model can be trained on; NaN for what is none."""
    number = np.nan if label is None else number_of(label)
    return number if abs(number) <= LARGEST else np.nan
