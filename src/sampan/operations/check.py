"""
Look at a config and the first samples of every source, before any job runs.

Reports what would fail (missing tables, columns, files, too small a capacity, weights that do not
fit), and what would be made: rows, partitions, bytes and the names of the variants, and how each
model would divide the samples. Tables are read to their end; of the files that they name, all are
looked at, or of many a number chosen at random, and a few are decoded. Nothing is written.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from sampan import plugins
from sampan.config.dataset import DatasetSettings
from sampan.config.load import read
from sampan.errors import DataError, InvalidSample, SampanError
from sampan.index.file_scan import why_empty
from sampan.operations.comparison import comparison_faults
from sampan.operations.ls import megabytes
from sampan.operations.survey import Cell, Division, Survey
from sampan.operations.trial import Tried, try_decoding, try_files
from sampan.plan import Jobs, Plan
from sampan.plugins import Cells, Encoder, Modality, Source, TypedSource
from sampan.progress import show_progress
from sampan.reporting.wording import count, percent
from sampan.sources.cells import CellReader
from sampan.sources.files import SampleFiles
from sampan.sources.values import cell_of, label_of
from sampan.steps.index import converted
from sampan.steps.scan import capacity_fault
from sampan.storage.durable import patiently
from sampan.terminal import one_line

SAMPLES = 16
SECONDS = 60.0
DECODED = 32
"""Samples of a modality chosen at random that are decoded."""
LARGEST_READ_BYTES = 256 * 2**20
"""Of a file that a scan need not read whole: of larger ones, values of modalities are not read."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="the config file")
    parser.add_argument(
        "--samples",
        type=int,
        default=SAMPLES,
        help=f"samples of each table to try; default {SAMPLES}",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="how long to look at the files that cells name, for each modality; "
        f"default {SECONDS:g}",
    )


def run(args: argparse.Namespace) -> None:
    plan = Plan.parse(read(args.config))
    faults: list[str] = []
    divisions: dict[str, Division] = {}
    for name, dataset in plan.config.datasets.items():
        check = DatasetCheck(name, dataset, plan, args.samples, args.seconds)
        print("\n".join(check.would_make()))
        divisions |= check.survey.divisions
        for warning in check.warnings:
            print(f"warning: {one_line(warning)}")
        faults += check.faults
    for model, stage in plan.models.items():
        settings = plan.config.models[model]
        print(f"model {stage.variant}: {settings.task} from {', '.join(settings.inputs)}")
        if sum(divisions[model].splits.values()):
            print(f"  {one_line(divisions[model].line())}")
    faults += comparison_faults(plan)
    if faults:
        raise DataError(faults)
    print(f"{args.config}: nothing that would fail was found")


class DatasetCheck:
    """What one dataset's sources, modalities and encoders would do."""

    def __init__(
        self,
        name: str,
        dataset: DatasetSettings,
        plan: Plan,
        samples: int,
        seconds: float = SECONDS,
    ) -> None:
        self.name, self.dataset, self.plan, self.samples = name, dataset, plan, samples
        self.seconds = seconds
        self.survey = Survey(name, dataset, plan)
        self._refused: set[str] = set()
        self.modalities: dict[str, Modality] = {
            modality: plan.modality(name, modality) for modality in dataset.modalities
        }
        self.faults: list[str] = []
        self.warnings: list[str] = []
        with show_progress(f"check {name}", None, "rows") as self._shown:
            counts = [self._source(number) for number in range(len(dataset.source))]
        self.rows = None if None in counts else sum(count or 0 for count in counts)
        """Of all sources; None where they cannot be counted."""
        if self.rows is not None:
            job = Jobs(plan).scan(name)
            fault = capacity_fault(job, self.rows)
            self.faults += [fault] if fault else []
            empty = [number for number, count in enumerate(counts) if not count and self.rows]
            self.warnings += [why_empty(job, number) for number in empty]
            self.faults += self.survey.faults() if self.rows else []
            self.warnings += self.survey.warnings()
            for modality in self.modalities:
                self._chosen(modality)
        self._unused()
        self._encoders()

    def would_make(self) -> Iterator[str]:
        """A line for the dataset and one for each variant."""
        import numpy as np

        yield (
            f"dataset {self.name}: {'unknown' if self.rows is None else f'{self.rows:,}'} rows of "
            f"{self.dataset.capacity:,}, {self.dataset.partitions} partitions of "
            f"{self.dataset.rows_per_job:,} rows"
        )
        for modality, plugin in self.modalities.items():
            if not self.dataset.modalities[modality].store:
                yield f"  {modality}: decoded straight into its encoders, not stored"
                continue
            spec = plugin.array()
            row = int(np.dtype(spec.dtype).itemsize * np.prod(spec.shape, dtype=np.int64))
            size = "" if self.rows is None else f", {megabytes(row * self.rows)}"
            shape = " × ".join(map(str, spec.shape))
            stage = self.plan.preprocessed[self.name, modality]
            yield f"  {stage.folder}: {shape} {spec.dtype}{size}"
        for (dataset, _), stage in self.plan.features.items():
            if dataset == self.name:
                yield f"  {stage.folder}"

    def _source(self, number: int) -> int | None:
        """Rows of one source; tries the first samples of each of its files."""
        where = f"datasets.{self.name}.source.{number}"
        source: Source = plugins.make("sources", self.dataset.source[number].settings, where)
        entries = self.dataset.modalities.values()
        columns = dict.fromkeys(
            [*self.dataset.columns.values(), *(entry.column for entry in entries)]
        )
        try:
            return patiently(lambda: self._count(number, source, tuple(columns)), 0, where)
        except SampanError as fault:
            self.faults += [
                line if line.startswith(where) else f"{where}: {line}" for line in fault.faults
            ]
            return None

    def _count(self, number: int, source: Source, columns: tuple[str, ...]) -> int:
        rows = 0
        for file in source.files():
            if isinstance(source, TypedSource):
                found = source.type_faults(file, self.dataset.columns)
                self.faults += [f"datasets.{self.name}.{line}" for line in found]
            head = next(source.read(file, columns, rows=self.samples), None)
            if head is not None:
                self._samples(number, source.root_of(file), head)
            counted = self._cheap(file) if source.stamp(file) else columns
            rows += self._rows(number, source.root_of(file), file, source.read(file, counted))
        return rows

    def _cheap(self, file: Path) -> tuple[str, ...]:
        """Columns of a file that need not be read whole: those that are soon read."""
        found = list(self.dataset.columns.values())
        for modality, entry in self.dataset.modalities.items():
            is_path = (entry.cell or self.modalities[modality].cell) == "path"
            if file.stat().st_size <= LARGEST_READ_BYTES or (
                is_path and file.stat().st_size <= 64 * LARGEST_READ_BYTES
            ):
                found.append(entry.column)
        return tuple(dict.fromkeys(found))

    def _rows(self, number: int, root: Path, file: Path, batches: Iterator[Cells]) -> int:
        """Rows of one file; a warning where some cannot be used."""
        rows = bad = 0
        first = ""
        for cells in batches:
            if any(cells.reasons):
                found = [(row, why) for row, why in enumerate(cells.reasons, rows) if why]
                bad, first = bad + len(found), first or f"row {found[0][0]:,}: {found[0][1]}"
            self.survey.count(number, root, cells)
            self._shown.add(len(cells.keys))
            rows += len(cells.keys)
        if bad:
            self.warnings.append(
                f"datasets.{self.name}: {file}: {bad:,} of {rows:,} rows cannot be used, such as "
                f"{first}"
            )
        return rows

    def _samples(self, number: int, root: Path, head: Cells) -> None:
        """
        Tries these samples; a fault where none is valid, a warning where some are not, or where
        none has a value.
        """
        reasons: list[str | None] = [None] * len(head.keys)
        for use, column in self.dataset.columns.items():
            converted(label_of, use, head.columns[column], reasons)
        for modality, entry in self.dataset.modalities.items():
            converted(cell_of, modality, head.columns[entry.column], reasons)
        if unusable := list(filter(None, reasons)):
            (self.faults if len(unusable) == len(reasons) else self.warnings).append(
                f"datasets.{self.name}: {len(unusable)} of the first {len(reasons)} samples cannot "
                f"be used: {unusable[0]}"
            )
        reasons = [given or found for given, found in zip(head.reasons, reasons, strict=True)]
        allow = [self.dataset.source[number].allow]
        for modality, entry in self.dataset.modalities.items():
            plugin = self.modalities[modality]
            files = SampleFiles([root], plugin.max_bytes, patience_seconds=0, allow=allow)
            reader = CellReader(files, entry.cell or plugin.cell)
            bad, absent, refused = [], 0, 0
            cells = head.columns[entry.column]
            for key, cell, reason in zip(head.keys, cells, reasons, strict=True):
                try:
                    if reason:
                        refused += 1
                        raise InvalidSample(reason)
                    absent += not _decode(plugin, reader, cell_of(cell))
                except InvalidSample as verdict:
                    bad.append(f"{key or 'no key'}: {verdict}")
            if bad:
                none_left = len(bad) == len(cells) - absent
                own = len(bad) > refused or not absent
                fatal = none_left and own and entry.max_invalid < 1
                self._refused |= {modality} if fatal else set()
                (self.faults if fatal else self.warnings).append(
                    f"datasets.{self.name}.modalities.{modality}: {len(bad)} of the first "
                    f"{len(cells)} samples are not valid, such as {bad[0]}"
                )
            if absent == len(cells):
                self.warnings.append(
                    f"datasets.{self.name}.modalities.{modality}: none of the first {len(cells)} "
                    f"samples has a value in column {entry.column!r}"
                )

    def _chosen(self, modality: str) -> None:
        """Looks at the files of all cells, or of many chosen at random, and decodes a few."""
        if modality in self._refused:
            return
        entry, plugin = self.dataset.modalities[modality], self.modalities[modality]
        sample = self.survey.samples[modality]
        cells = sample.chosen()
        readers: dict[tuple[int, Path], CellReader] = {}

        def reader(cell: Cell) -> CellReader:
            place = (cell.source, cell.root)
            if place not in readers:
                allow = [self.dataset.source[cell.source].allow]
                files = SampleFiles([cell.root], plugin.max_bytes, patience_seconds=0, allow=allow)
                readers[place] = CellReader(files, entry.cell or plugin.cell)
            return readers[place]

        what, until = f"check {self.name} {modality}", time.monotonic() + self.seconds
        if (entry.cell or plugin.cell) == "path":
            tried = try_files(cells, reader, what, until)
            self._said(modality, tried, sample.seen, "file", entry.max_invalid)
            if tried.cells and sum(tried.bad.values()) == tried.cells:
                return
        if sample.seen > self.samples:
            some = cells[:: max(1, len(cells) // DECODED)][:DECODED]
            tried = try_decoding(some, plugin, reader, what, until)
            self._said(modality, tried, sample.seen, "sample", entry.max_invalid)

    def _said(self, modality: str, tried: Tried, of: int, noun: str, max_invalid: float) -> None:
        """A warning where some are not valid, a fault where all were tried and too many are not."""
        bad = sum(tried.bad.values())
        if not bad:
            return
        share = bad / tried.cells
        reasons = ", ".join(f"{times:,} {reason}" for reason, times in tried.bad.most_common(3))
        chosen = (
            f"all {count(of, noun)}"
            if tried.cells == of
            else f"{count(tried.cells, noun)} chosen at random of {of:,}"
        )
        line = (
            f"datasets.{self.name}.modalities.{modality}: {bad:,} of {chosen} cannot be used "
            f"({percent(share)}: {reasons}), such as {tried.example}"
        )
        too_many = share > max_invalid
        line += f"; max_invalid: {max_invalid:g} allows {percent(max_invalid)}" if too_many else ""
        (self.faults if too_many and tried.cells == of else self.warnings).append(line)

    def _unused(self) -> None:
        for modality in self.dataset.modalities:
            if self.dataset.features and not self.dataset.features.get(modality):
                self.warnings.append(
                    f"datasets.{self.name}.modalities.{modality}: no encoder takes it, so no model "
                    f"uses it; name one in features.{modality}, or leave it out"
                )

    def _decoded(self, modality: str, encoder: Encoder) -> Modality:
        """What an encoder is given: what is stored, or what it wants where nothing is."""
        entry = self.dataset.modalities[modality]
        if entry.store:
            return self.modalities[modality]
        where = f"datasets.{self.name}.modalities.{modality}"
        settings = plugins.decide_decoding(encoder, entry.settings, where)
        found: Modality = plugins.make("modalities", settings, where)
        return found

    def _encoders(self) -> None:
        for modality, encoders in self.dataset.features.items():
            for name in encoders:
                settings = self.plan.config.encoders[name].settings
                try:
                    encoder: Encoder = plugins.make("encoders", settings, f"encoders.{name}")
                    found = encoder.check(self._decoded(modality, encoder))
                except SampanError as fault:
                    found = list(fault.faults)
                where = f"datasets.{self.name}.features.{modality}: {name}"
                self.faults += [f"{where}: {line}" for line in found]


def _decode(plugin: Modality, reader: CellReader, cell: str | bytes | None) -> bool:
    """Whether there is a value, which then could be decoded; else `InvalidSample`."""
    import numpy as np

    found = reader.read(0, cell)
    if found is None:
        return False
    spec = plugin.array()
    plugin.decode(found.data, np.zeros(spec.shape, spec.dtype))
    return True
