"""
Look at a config and the first samples of every source, before any job runs.

Reports what would fail (missing tables, columns, files, too small a capacity, weights that do not
fit), and what would be made: rows, partitions, bytes and the names of the variants.
"""

import argparse
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sampan import plugins
from sampan.config.dataset import DatasetSettings, ModalityEntry
from sampan.config.load import load
from sampan.errors import DataError, InvalidSample, SampanError
from sampan.plan import Plan
from sampan.plugins import Cells, Modality, Source
from sampan.sources.files import SampleFiles
from sampan.steps.ls import megabytes

SAMPLES = 16


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="the config file")
    parser.add_argument(
        "--samples",
        type=int,
        default=SAMPLES,
        help=f"samples of each table to try; default {SAMPLES}",
    )


def run(args: argparse.Namespace) -> None:
    plan = Plan(load(args.config))
    faults: list[str] = []
    warnings: list[str] = []
    for name, dataset in plan.config.datasets.items():
        rows = _check_sources(name, dataset, args.samples, faults, warnings)
        faults += _check_encoders(name, dataset, plan)
        print("\n".join(_would_make(name, dataset, plan, rows)))
    for model, stage in plan.models.items():
        task = plan.config.models[model].task
        print(f"model {stage.variant}: {task} from {', '.join(plan.config.models[model].inputs)}")
    for warning in warnings:
        print(f"warning: {warning}")
    if faults:
        raise DataError(faults)
    print(f"{args.config}: nothing that would fail was found")


def _check_sources(
    name: str, dataset: DatasetSettings, samples: int, faults: list[str], warnings: list[str]
) -> int | None:
    """Rows of all sources; None where they cannot be counted."""
    rows = 0
    columns = tuple(
        dict.fromkeys([*dataset.columns.values(), *(e.column for e in dataset.modalities.values())])
    )
    for number, entry in enumerate(dataset.source):
        where = f"datasets.{name}.source.{number}"
        source: Source = plugins.make("sources", entry.settings, where)
        try:
            for file in source.files():
                head = _head(source, file, columns, samples)
                warnings += _try_cells(name, dataset, source.root_of(file), head)
                rows += sum(len(cells.keys) for cells in source.read(file, ()))
        except SampanError as fault:
            faults += [f"{where}: {line}" for line in fault.faults]
            return None
    if rows > dataset.capacity:
        jobs = math.ceil(rows / dataset.rows_per_job)
        faults.append(
            f"datasets.{name}: {rows:,} samples exceed capacity: {dataset.capacity}; set capacity: "
            f"{jobs * dataset.rows_per_job} ({jobs} jobs of {dataset.rows_per_job:,} rows)"
        )
    return rows


def _head(source: Source, file: Path, columns: tuple[str, ...], samples: int) -> Cells:
    found = next(iter(source.read(file, columns, rows=samples)), None)
    return found or Cells([], {name: [] for name in columns}, [], [])


def _try_cells(name: str, dataset: DatasetSettings, root: Path, head: Cells) -> Iterator[str]:
    """A warning for each of the first samples that could not be used."""
    for modality, entry in dataset.modalities.items():
        plugin: Modality = plugins.make("modalities", entry.settings, modality)
        files = SampleFiles([root], plugin.max_bytes, patience_seconds=0)
        cells = head.columns[entry.column]
        bad = []
        for key, cell, reason in zip(head.keys, cells, head.reasons, strict=True):
            try:
                if reason:
                    raise InvalidSample(reason)
                _decode(plugin, entry, files, cell)
            except InvalidSample as verdict:
                bad.append(f"{key}: {verdict}")
        if bad:
            yield (
                f"datasets.{name}.modalities.{modality}: {len(bad)} of the first {len(cells)} "
                f"samples are not valid, such as {bad[0]}"
            )


def _decode(plugin: Modality, entry: ModalityEntry, files: SampleFiles, cell: Any) -> None:
    import numpy as np

    if cell is None or cell == "":
        raise InvalidSample("empty cell")
    if isinstance(cell, bytes):
        data = cell
    elif (entry.cell or plugin.cell) == "path":
        data = files.read(0, str(cell))
    else:
        data = str(cell).encode()
    spec = plugin.array()
    plugin.decode(data, np.zeros(spec.shape, spec.dtype))


def _check_encoders(name: str, dataset: DatasetSettings, plan: Plan) -> list[str]:
    found = []
    for modality, encoders in dataset.features.items():
        stored = plugins.make("modalities", dataset.modalities[modality].settings, modality)
        for encoder in encoders:
            settings = plan.config.encoders[encoder].settings
            where = f"datasets.{name}.features.{modality}: {encoder}"
            try:
                faults = plugins.make("encoders", settings, f"encoders.{encoder}").check(stored)
            except SampanError as fault:
                faults = list(fault.faults)
            found += [f"{where}: {line}" for line in faults]
    return found


def _would_make(name: str, dataset: DatasetSettings, plan: Plan, rows: int | None) -> list[str]:
    import numpy as np

    known = "unknown" if rows is None else f"{rows:,}"
    lines = [
        f"dataset {name}: {known} rows of {dataset.capacity:,}, {dataset.partitions} partitions "
        f"of {dataset.rows_per_job:,} rows"
    ]
    for (owner, modality), stage in plan.preprocessed.items():
        if owner == name:
            plugin = plugins.make("modalities", dataset.modalities[modality].settings, modality)
            spec = plugin.array()
            row = int(np.dtype(spec.dtype).itemsize * np.prod(spec.shape, dtype=np.int64))
            size = "" if rows is None else f", {megabytes(row * rows)}"
            shape = " × ".join(map(str, spec.shape))
            lines.append(f"  {stage.folder}: {shape} {spec.dtype}{size}")
    stages = [stage for (owner, _), stage in plan.features.items() if owner == name]
    return list(itertools.chain(lines, (f"  {stage.folder}" for stage in stages)))
