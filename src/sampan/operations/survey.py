"""
What all rows of a dataset's sources say before any job runs: how models would divide them, which
labels there are, which cells are empty, which keys repeat.

Rows are taken in a batch at a time. Memory: 16 bytes a row, the different labels, and a bounded
number of cells that are chosen at random, the same ones each time.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sampan.config.dataset import DatasetSettings
from sampan.config.split import SplitSettings
from sampan.errors import DataError
from sampan.index.splits import NAMES, split_of
from sampan.plan import Plan
from sampan.plugins import Cells
from sampan.reporting.wording import count, listed, percent
from sampan.sources.cells import How, is_empty
from sampan.sources.values import cell_of, label_of
from sampan.steps.index import converted
from sampan.terminal import shortened
from sampan.training.targets import LARGEST, number_of

LABELS_COUNTED = 10_000
KEYS_COMPARED = 20_000_000
CHOSEN = 10_000
"""Cells of a modality that are kept, to look at their files."""
SHOWN = 5
FEWEST_FOR_AN_ID = 20
"""Rows from which on labels that are all different are taken for names of the rows."""


class Cell(NamedTuple):
    """One cell that is not empty, and where its path begins."""

    source: int
    root: Path
    key: str
    value: Any


class Sample:
    """Cells chosen at random among all that are put in, each as likely as any other."""

    def __init__(self, most: int) -> None:
        self.cells: list[Cell] = []
        self.seen = 0
        self._most = most
        self._places: list[float] = []
        self._random = np.random.Generator(np.random.PCG64(0))
        self._below = 1.0

    def put(self, cells: int, cell: Callable[[int], Cell]) -> None:
        """So many cells, of which `cell` gives each by its number."""
        places = self._random.random(cells)
        self.seen += cells
        for i in np.flatnonzero(places < self._below).tolist():
            self.cells.append(cell(i))
            self._places.append(float(places[i]))
        if len(self.cells) > 2 * self._most:
            self._cut()

    def _cut(self) -> None:
        order = sorted(np.argsort(self._places)[: self._most].tolist())
        self.cells = [self.cells[i] for i in order]
        self._places = [self._places[i] for i in order]
        self._below = max(self._places)

    def chosen(self) -> list[Cell]:
        if len(self.cells) > self._most:
            self._cut()
        return self.cells


@dataclass
class Division:
    """The rows of one model by split and label, of those that it can use."""

    where: str
    settings: SplitSettings
    inputs: tuple[str, ...]
    """Modalities that a row must have."""
    task: str
    splits: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    fault: str = ""

    @property
    def is_supervised(self) -> bool:
        return self.task in ("classify", "regress")

    def count(
        self,
        usable: NDArray[np.bool_],
        groups: NDArray[np.object_],
        given: NDArray[np.object_] | None,
        labels: NDArray[np.object_] | None,
    ) -> None:
        """All (sample)."""
        try:
            found = split_of(self.settings, groups, given)
        except DataError as fault:
            self.fault = f"{self.where}: {fault.faults[0]}"
            return
        if self.is_supervised and labels is not None:
            usable = usable & (labels != None)  # noqa: E711 # elementwise
            for (label, split), times in Counter(
                zip(labels[usable], found[usable], strict=True)
            ).items():
                if label in self.labels or len(self.labels) < LABELS_COUNTED:
                    self.labels.setdefault(label, Counter())[split or "none"] += times
        self.splits.update(split or "none" for split in found[usable])

    def faults(self) -> Iterator[str]:
        """Why the model's job would fail."""
        if self.fault:
            yield self.fault
            return
        if not self.splits:
            needs = [*self.inputs, *(["label"] if self.is_supervised else [])]
            yield f"{self.where}: no sample has all that it needs: {listed(needs)}"
            return
        needed = ("test",) if self.task == "retrieve" else NAMES
        if empty := [name for name in needed if not self.splits[name]]:
            yield (
                f"{self.where}: no sample falls in {' and '.join(empty)} ({self.line()}); change "
                "the fractions, or list groups"
            )
        if self.task == "classify" and len(self.labels) == 1:
            yield (
                f"{self.where}: all labels are {shortened(next(iter(self.labels)))}; "
                "classification needs two classes or more"
            )
        if self.task == "regress":
            wrong = [label for label in self.labels if not _is_number(label)]
            if wrong:
                rows = sum(sum(self.labels[label].values()) for label in wrong)
                are = "is no number" if rows == 1 else "are no numbers"
                shown = ", ".join(map(shortened, wrong[:SHOWN]))
                yield (
                    f"{self.where}: {count(rows, 'label')} {are} of 32 bits, such as "
                    f"{shown}; regress needs them finite and below {LARGEST:.2g}"
                )

    def warnings(self) -> Iterator[str]:
        if self.task != "classify" or self.fault:
            return
        rows = sum(self.splits.values())
        if len(self.labels) == rows >= FEWEST_FOR_AN_ID:
            yield (
                f"{self.where}: all {rows:,} labels are different; is the column a name of the "
                "rows rather than their class?"
            )
            return
        for split in ("train", "test"):
            lacking = [label for label, times in self.labels.items() if not times[split]]
            if lacking and self.splits[split]:
                shown = ", ".join(map(shortened, lacking[:SHOWN]))
                more = ", …" if len(lacking) > SHOWN else ""
                have = "has" if len(lacking) == 1 else "have"
                classes = count(len(self.labels), "class", "classes")
                yield (
                    f"{self.where}: {len(lacking):,} of {classes} {have} no sample in {split}: "
                    f"{shown}{more}"
                )

    def line(self) -> str:
        """`train 70, validation 15, test 15; 10 classes of 8 to 12 samples`."""
        names = [*NAMES, *(name for name in sorted(self.splits) if name not in NAMES)]
        said = ", ".join(f"{name} {self.splits[name]:,}" for name in names)
        if self.task != "classify" or not self.labels:
            return said
        sizes = [sum(times.values()) for times in self.labels.values()]
        few, many = min(sizes), max(sizes)
        classes = count(len(sizes), "class", "classes")
        if len(sizes) == LABELS_COUNTED:
            classes = f"{LABELS_COUNTED:,} classes or more"
        return f"{said}; {classes} of {few:,}{f' to {many:,}' if many > few else ''} samples"


class Survey:
    """Counts over all rows of one dataset's sources."""

    def __init__(self, name: str, dataset: DatasetSettings, plan: Plan) -> None:
        self._name, self._dataset = name, dataset
        self._how: dict[str, How] = {
            modality: entry.cell or plan.modality(name, modality).cell
            for modality, entry in dataset.modalities.items()
        }
        self.divisions = {
            model: Division(
                where=f"models.{model}",
                settings=plan.split(settings),
                inputs=settings.modalities,
                task=settings.task,
            )
            for model, settings in plan.config.models.items()
            if settings.dataset == name
        }
        self.rows = 0
        self.absent: Counter[str] = Counter()
        self.looked_at: Counter[str] = Counter()
        """Rows whose cells of a modality were seen."""
        self.samples = {modality: Sample(CHOSEN) for modality in dataset.modalities}
        self.objects: dict[str, list[str]] = {}
        """Text modality → fields of the objects that its cells hold."""
        self.refused: Counter[str] = Counter()
        """Why rows are in no modality's array; each counts once."""
        self._empty_keys = 0
        self._hashes: list[NDArray[np.uint64]] = []
        self._numbers: list[NDArray[np.int64]] = []

    def count(self, source: int, root: Path, cells: Cells) -> None:
        """Take in the next rows; columns of modalities that are not looked at may be missing."""
        reasons = list(cells.reasons)
        columns = {
            use: np.array(converted(label_of, use, cells.columns[column], reasons) or [], object)
            for use, column in self._dataset.columns.items()
        }
        modalities = {
            modality: converted(cell_of, modality, cells.columns[entry.column], reasons)
            for modality, entry in self._dataset.modalities.items()
            if entry.column in cells.columns
        }
        self.refused.update(reason.partition(": ")[0] for reason in reasons if reason)
        keys = np.array(cells.keys, object)
        usable = np.array([reason is None for reason in reasons], bool) & (keys != "")
        self._keys(cells, keys)
        present = {
            modality: self._present(modality, source, root, cells, found, reasons)
            for modality, found in modalities.items()
        }
        groups = columns.get("group")
        groups = keys if groups is None else np.where(groups == None, keys, groups)  # noqa: E711
        for division in self.divisions.values():
            mask = usable.copy()
            for modality in division.inputs:
                mask &= present.get(modality, True)
            given = columns.get("split") if division.settings.column else None
            division.count(mask, groups, given, columns.get("label"))
        self.rows += len(cells.keys)

    def _keys(self, cells: Cells, keys: NDArray[np.object_]) -> None:
        from pandas.util import hash_array

        is_read = np.array([reason is None for reason in cells.reasons], bool)
        self._empty_keys += int(((keys == "") & is_read).sum())
        if self._dataset.on_duplicate == "trust" or self.rows >= KEYS_COMPARED:
            return
        rows = np.flatnonzero((keys != "") & is_read)
        if len(rows):
            self._hashes.append(np.asarray(hash_array(keys[rows])))
            self._numbers.append(self.rows + rows)

    def _present(
        self,
        modality: str,
        source: int,
        root: Path,
        cells: Cells,
        kept: Sequence[str | bytes | None],
        reasons: Sequence[str | None],
    ) -> NDArray[np.bool_]:
        """(sample): whether the cell is not empty."""
        entry, how = self._dataset.modalities[modality], self._how[modality]
        values = cells.columns[entry.column]
        found = np.array([not is_empty(cell, how) for cell in kept], bool)
        is_read = np.array([reason is None for reason in reasons], bool)
        self.looked_at[modality] += int(is_read.sum())
        self.absent[modality] += int((is_read & ~found).sum())
        if entry.kind == "text" and modality not in self.objects:
            held = next((value for value in values if isinstance(value, dict)), None)
            if held is not None:
                self.objects[modality] = [str(name) for name in held]
        there = np.flatnonzero(found & is_read).tolist()
        self.samples[modality].put(
            len(there),
            lambda i: Cell(source, root, cells.keys[there[i]], values[there[i]]),
        )
        return found

    def faults(self) -> Iterator[str]:
        if self._dataset.on_duplicate == "error":
            yield from self._of_keys()
        yield from self._of_refused()
        for division in self.divisions.values():
            yield from division.faults()

    def _of_refused(self) -> Iterator[str]:
        """Rows that cannot be used count in every modality: where that is more than it allows."""
        refused = sum(self.refused.values())
        breaks = {
            modality: entry.max_invalid
            for modality, entry in self._dataset.modalities.items()
            if refused > entry.max_invalid * self.rows
        }
        if not breaks:
            return
        shown = ", ".join(f"{n:,} {shortened(why)}" for why, n in self.refused.most_common(SHOWN))
        yield (
            f"datasets.{self._name}: {refused:,} of {count(self.rows, 'row')} cannot be used "
            f"({shown}), which is more than max_invalid allows in "
            f"{listed([f'{name} ({most:g})' for name, most in breaks.items()])}; mend them, or "
            "raise it"
        )

    def warnings(self) -> Iterator[str]:
        where = f"datasets.{self._name}"
        if self._dataset.on_duplicate == "quarantine":
            yield from self._of_keys()
        for modality, fields in self.objects.items():
            column = self._dataset.modalities[modality].column
            shown = listed([shortened(name) for name in fields[:SHOWN]])
            more = ", …" if len(fields) > SHOWN else ""
            field = f"{column}.{shortened(fields[0]) if fields else 'field'}"
            yield (
                f"{where}.modalities.{modality}: cells of column {column!r} are objects, whose "
                f"JSON is taken for the text, with all that is in it ({shown}{more}); is the label "
                f"among it? Name one field, such as column: {field}"
            )
        for modality, absent in self.absent.items():
            if absent:
                total = self.looked_at[modality]
                yield (
                    f"{where}.modalities.{modality}: {absent:,} of {count(total, 'cell')} "
                    f"{'is' if absent == 1 else 'are'} empty ({percent(absent / total)}); these "
                    "samples are absent, and no model that needs them uses them"
                )
        for division in self.divisions.values():
            yield from division.warnings()

    def _of_keys(self) -> Iterator[str]:
        where = f"datasets.{self._name}"
        change = "; make keys unique, or set on_duplicate: quarantine"
        if self._dataset.on_duplicate == "quarantine":
            change = "; those rows are quarantined"
        if self._empty_keys:
            yield f"{where}: {count(self._empty_keys, 'key')} of {self.rows:,} empty{change}"
        if not self._hashes:
            return
        hashes, rows = np.concatenate(self._hashes), np.concatenate(self._numbers)
        order = np.argsort(hashes, kind="stable")
        again = np.flatnonzero(np.diff(hashes[order]) == 0) + 1
        if len(again):
            later = int(rows[order[again]].min())
            place = next(i for i in again.tolist() if rows[order[i]] == later)
            first = place
            while first and hashes[order[first - 1]] == hashes[order[place]]:
                first -= 1
            yield (
                f"{where}: {count(len(again), 'key')} "
                f"{'repeats' if len(again) == 1 else 'repeat'} an earlier one, counting rows from "
                f"0: row {later:,} (as row {int(rows[order[first]]):,}){change}"
            )


def _is_number(label: str) -> bool:
    return abs(number_of(label)) <= LARGEST
