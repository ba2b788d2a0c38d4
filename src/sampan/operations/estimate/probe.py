"""
Run a few samples of every dataset through the real steps, each in a process of its own, here.

The samples are the first of up to eight files of a dataset's sources, copied into Parquet tables;
what they are made into lies in a temporary folder (TMPDIR says where), and is removed. Jobs leave
logs, benchmarks and receipts there as under Snakemake, from which their rates are read.
"""

import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sampan import plugins
from sampan.config.dataset import DatasetSettings
from sampan.errors import DataError
from sampan.index.parts import IndexFolder
from sampan.operations.estimate.measured import Measured
from sampan.plan import Jobs, Plan, Stage
from sampan.plan.jobs import Settings, ShardsJob
from sampan.plugins import Source
from sampan.runs.events import events_of, read_events
from sampan.sources.values import cell_of
from sampan.storage.durable import patiently, read_json
from sampan.storage.specs import argument
from sampan.store.documents import ScanState

log = logging.getLogger("sampan")

FILES = 8
SECOND = 8
"""How many times smaller the second partition is."""
KEY = "sampan.key"


@contextmanager
def probe(plan: Plan, samples: int, *, threads: int, gpus: int) -> Iterator[Measured]:
    """
    What `samples` of each dataset took here, until the block ends.

    They are one partition; a second one has an eighth as many, so that what a job takes can be
    parted into its start-up and its work, and a third has none. Each job gets so many threads and
    GPUs, and the memory that it says it needs. `DataError` where a source has no samples, or a job
    fails: its `error:` lines.
    """
    busy = _busy()
    with tempfile.TemporaryDirectory(prefix="sampan-probe-") as name:
        folder = Path(name)
        values = plan.config.model_dump(mode="json") | {"models": {}, "quota": {}}
        values["results"] = str(folder / "results")
        for dataset, settings in plan.config.datasets.items():
            size = _rows_per_job(plan, settings, samples)
            second = size // SECOND if size < samples + 64 else 0
            wanted = size + second if second else samples
            sources = _copied(dataset, settings, wanted, folder / dataset)
            values["datasets"][dataset] |= {
                "source": sources,
                "capacity": 3 * size,
                "rows_per_job": size,
                "on_duplicate": "trust",
            }
        small = Plan.parse(values)
        for dataset in small.config.datasets:
            _run(small, dataset, threads, gpus)
        yield Measured(folder=small.results, label=f"probe of {samples:,} samples here{busy}")


def _busy() -> str:
    """Said of a machine that others use: what is measured on it is too slow."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    return f", which was busy: load {load:.1f} on {cores} cores" if 2 * load > cores else ""


def _rows_per_job(plan: Plan, settings: DatasetSettings, samples: int) -> int:
    """Legal, and a multiple of every `rows_per_shard` that is set, since names depend on those."""
    encoders = {name for listed in settings.features.values() for name in listed}
    sizes = [entry.rows_per_shard or 1 for entry in settings.modalities.values()]
    sizes += [plan.config.encoders[name].rows_per_shard or 1 for name in encoders]
    step = math.lcm(64, *sizes)
    return -(-samples // step) * step


# The samples --------------------------------------------------------------------------------------


def _copied(
    dataset: str, settings: DatasetSettings, samples: int, folder: Path
) -> list[dict[str, Any]]:
    """Tables with some samples from the beginnings of some files; entries for a config."""
    where = f"datasets.{dataset}.source"
    files: list[tuple[Source, Path, list[str]]] = []
    for number, entry in enumerate(settings.source):
        source: Source = plugins.make("sources", entry.settings, f"{where}.{number}")
        found = patiently(source.files, 0, f"{where}.{number}")
        files += [(source, file, entry.allow) for file in found]
    modalities = [entry.column for entry in settings.modalities.values()]
    columns = tuple(dict.fromkeys([*settings.columns.values(), *modalities]))
    chosen = files[:: -(-len(files) // FILES)] if files else []
    folder.mkdir()
    entries, left = [], samples
    for number, (source, file, allow) in enumerate(chosen):
        table = folder / f"{number}.parquet"
        taken = _copy(source, file, columns, -(-left // (len(chosen) - number)), table)
        left -= taken
        if taken:
            root = str(source.root_of(file).resolve())
            about = {"kind": "table", "path": str(table), "key": KEY, "root": root}
            entries.append(about | {"allow": allow})
    if not entries:
        raise DataError(f"datasets.{dataset}: the sources hold no samples to probe")
    return entries


def _copy(source: Source, file: Path, columns: tuple[str, ...], rows: int, to: Path) -> int:
    """The first usable rows of a file as a Parquet table; returns how many there were."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept: dict[str, list[Any]] = {name: [] for name in (KEY, *columns)}
    for cells in source.read(file, columns, rows=min(rows, 8192)):
        for i, reason in enumerate(cells.reasons):
            if reason is None and len(kept[KEY]) < rows:
                kept[KEY].append(cells.keys[i])
                for name in columns:
                    kept[name].append(cell_of(cells.columns[name][i]))
        if len(kept[KEY]) >= rows:
            break
    pq.write_table(pa.table(kept), to)
    return len(kept[KEY])


# The jobs -----------------------------------------------------------------------------------------


def _run(plan: Plan, dataset: str, threads: int, gpus: int) -> None:
    """Scan, index, and each modality and encoder over the partitions that hold samples."""
    granted, jobs = ["--threads", str(threads)], Jobs(plan)
    patience = ["--patience-seconds", "0"]
    _job(plan, ["scan", *granted, *patience], jobs.scan(dataset), f"{dataset}/scan/scan")
    for part in plan.parts(dataset):
        words = ["index", "--part", part, *patience]
        _job(plan, words, jobs.index(dataset), f"{dataset}/index/part-{part}")
    _job(plan, ["commit"], jobs.commit_index(dataset), f"{dataset}/index/commit")
    for (owner, name), stage in plan.preprocessed.items():
        if owner == dataset:
            memory = plan.preprocess_mb(dataset, name, threads)
            words = ["preprocess", *granted, "--memory-mb", str(memory), *patience]
            _stage(plan, words, jobs.preprocess(dataset, name), stage)
    for (owner, name), stage in plan.features.items():
        if owner == dataset:
            of = (dataset, stage.modality)
            memory = plan.extract_mb(stage.encoder, threads, gpus, of=of)
            words = ["extract", *granted, "--memory-mb", str(memory), "--gpus", str(gpus)]
            _stage(plan, [*words, *patience], jobs.extract(dataset, name), stage)


def _stage(plan: Plan, words: list[str], job: ShardsJob, stage: Stage) -> None:
    state = IndexFolder(plan.results / stage.dataset / "index").state
    rows = read_json(state, ScanState)["parts"]
    for part in range(len(rows)):
        name = f"part-{part:05d}"
        receipt = plan.results / stage.folder / "receipts" / f"{name}.json"
        place = f"{stage.dataset}/{words[0]}/{stage.variant}/{name}"
        _job(plan, [*words, "--part", str(part), "--receipt", str(receipt)], job, place)


def _job(plan: Plan, words: list[str], job: Settings, place: str) -> None:
    """Run one command as its rule would, with its log and its benchmark."""
    log = plan.results / "logs" / f"{place}.log"
    benchmark = plan.results / "benchmarks" / f"{place}.tsv"
    for path in (log, benchmark):
        path.parent.mkdir(parents=True, exist_ok=True)
    spec = argument(job.to_json(), plan.results, write=True)
    common = ["--results", str(plan.results), "--spec", spec, "--events", str(events_of(log))]
    start = time.monotonic()
    with log.open("wb") as file:
        ended = subprocess.run(
            [sys.executable, "-m", "sampan.cli", words[0], *common, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            check=False,
        )
    seconds = time.monotonic() - start
    if ended.returncode:
        events = read_events(events_of(log))
        told = events.ended.faults if events and events.ended else ()
        faults = told or log.read_text(errors="replace").splitlines()[-1:]
        raise DataError([f"probe: {place}: {line}" for line in faults])
    benchmark.write_text(f"s\n{seconds:.4f}\n")
    logging.getLogger("sampan").info("probe: %s took %.1f s", place, seconds)
