"""Read every file of a dataset's sources once: rows, offsets to start at, keys, hashes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sampan.compute import Grant, Outcome, children
from sampan.config.labels import tidy
from sampan.errors import DataError
from sampan.index.row_hashes import HashWriter
from sampan.plan.jobs import ScanJob
from sampan.plugins import SelectiveSource, TypedSource
from sampan.storage.durable import patiently

POSITIONS_PER_PART = 16
UNTIDY_SHOWN = 3
"""Of the keys of one file that look like others but are not."""


class FileTask(NamedTuple):
    """One file of a source, and where its rows' hashes go."""

    job: ScanJob
    source: int
    file: Path
    hashes: Path
    patience_seconds: float


class FileScan(NamedTuple):
    """What one file holds; row numbers here count from the file's first."""

    task: FileTask
    stamp: str
    rows: int
    positions: list[tuple[int, int]]
    """(row, offset) every so many rows."""
    empty: list[int]
    """Rows whose key is empty."""
    unusable: list[int]
    """Rows that could not be parsed."""
    untidy: list[str]
    """The first keys with white space at their ends, or not in normal form C."""


def scan_files(
    job: ScanJob, temporary: Path, grant: Grant, patience_seconds: float
) -> list[FileScan]:
    """
    All files in row order, several at a time where there are; hashes go below `temporary`.

    `DataError` with the faults of all sources, or of all files; `StorageError` after patience.
    """
    tasks = _tasks(job, temporary, patience_seconds)
    outcomes = {outcome.task.hashes: outcome for outcome in _outcomes(tasks, grant)}
    found: list[FileScan] = []
    faults: list[str] = []
    for outcome in (outcomes[task.hashes] for task in tasks):
        if isinstance(outcome.fault, DataError):
            faults += outcome.fault.faults
        elif outcome.fault:
            raise outcome.fault
        else:
            found.append(outcome.result)
    if faults:
        raise DataError(faults)
    return found


def _tasks(job: ScanJob, temporary: Path, patience_seconds: float) -> list[FileTask]:
    tasks: list[FileTask] = []
    faults: list[str] = []
    for number in range(len(job.sources)):
        where = f"datasets.{job.dataset}.source.{number}"
        source = job.source(number)
        try:
            files = patiently(source.files, patience_seconds, where)
        except DataError as fault:
            faults += [f"{where}: {line}" for line in fault.faults]
            continue
        tasks += [
            FileTask(job, number, file, temporary / f"{number}-{i}", patience_seconds)
            for i, file in enumerate(files)
        ]
    if faults:
        raise DataError(faults)
    return tasks


def _outcomes(tasks: list[FileTask], grant: Grant) -> Iterator[Outcome]:
    workers = min(grant.threads, len(tasks))
    if workers > 1:
        with children(replace(grant, threads=workers), "processes") as pool:
            yield from pool.run(_read, tasks)
        return
    for task in tasks:
        try:
            yield Outcome(task, _read(task))
        except DataError as fault:
            yield Outcome(task, fault=fault)


def _read(task: FileTask) -> FileScan:
    """Read one file once, and again from its start while storage is in trouble."""
    what = f"{task.file}, read into {task.hashes.parent}"
    return patiently(lambda: _read_once(task), task.patience_seconds, what)


def _read_once(task: FileTask) -> FileScan:
    job = task.job
    source = job.source(task.source)
    if isinstance(source, TypedSource) and (faults := source.type_faults(task.file, job.columns)):
        raise DataError([f"datasets.{job.dataset}.{line}" for line in faults])
    found = FileScan(task, source.stamp(task.file), 0, [], [], [], [])
    columns = () if found.stamp else (*job.columns.values(), *job.modalities.values())
    stride = max(1, job.rows_per_job // POSITIONS_PER_PART)
    rows = 0
    with HashWriter(task.hashes) as hashes:
        for cells in source.read(task.file, tuple(dict.fromkeys(columns))):
            size = len(cells.keys)
            marks = range(-rows % stride, size, stride)
            found.positions.extend((rows + i, cells.offsets[i]) for i in marks)
            if any(cells.reasons):
                bad = [i for i, reason in enumerate(cells.reasons) if reason]
                found.unusable.extend(rows + i for i in bad)
            if "" in cells.keys:
                pairs = enumerate(zip(cells.keys, cells.reasons, strict=True))
                found.empty.extend(rows + i for i, pair in pairs if pair == ("", None))
            if len(found.untidy) < UNTIDY_SHOWN:
                untidy = (key for key in cells.keys if key != tidy(key))
                found.untidy.extend(islice(untidy, UNTIDY_SHOWN - len(found.untidy)))
            hashes.write(cells)
            rows += size
    return found._replace(rows=rows)


def why_empty(job: ScanJob, number: int) -> str:
    """Why a source holds no samples, as far as it can say."""
    where = f"datasets.{job.dataset}.source.{number}"
    source = job.source(number)
    lines = source.why_no_rows() if isinstance(source, SelectiveSource) else []
    return f"{where}: {'; '.join(lines) or 'holds no samples'}"
