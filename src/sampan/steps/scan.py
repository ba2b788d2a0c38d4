"""
Count a dataset's samples, check their keys, and find where each partition starts in its sources.

Text tables are read once, in a stream; of Parquet only the keys. What is found is checked against
the last scan: rows that were there must not have moved.
"""

import argparse
import logging
import shlex
import shutil
import time
from bisect import bisect_left, bisect_right
from itertools import accumulate, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sampan.compute import Grant
from sampan.errors import DataError
from sampan.events import Worked, say
from sampan.index.duplicate_keys import duplicates
from sampan.index.file_scan import FileScan, scan_files, why_empty
from sampan.index.parts import Index, IndexFolder
from sampan.index.row_hashes import RowHashes
from sampan.plan.identity import digest_of
from sampan.plan.jobs import ScanJob
from sampan.steps.flags import add_flags, grant_of
from sampan.storage.durable import PATIENCE_SECONDS, read_json, storing, with_checksum, write_json
from sampan.storage.specs import argument
from sampan.store.documents import ScannedPart, ScanState
from sampan.terminal import shortened

log = logging.getLogger("sampan")

SHOWN = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ScanJob, grant=True)
    parser.add_argument(
        "--renumber", action="store_true", help="accept that rows which were there have moved"
    )


def run(args: argparse.Namespace) -> None:
    scan(
        args.job,
        IndexFolder(args.results / args.job.dataset / "index"),
        grant_of(args),
        renumber=args.renumber,
        results=args.results,
        patience_seconds=args.patience_seconds,
    )


class Refused(NamedTuple):
    """Rows of the dataset whose keys cannot be used, ascending, and why."""

    rows: list[int]
    reasons: list[str]

    def between(self, first: int, stop: int) -> dict[str, str]:
        part = slice(bisect_left(self.rows, first), bisect_left(self.rows, stop))
        return dict(zip(map(str, self.rows[part]), self.reasons[part], strict=True))


def scan(
    job: ScanJob,
    folder: IndexFolder,
    grant: Grant,
    *,
    renumber: bool,
    results: Path,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Write a plan for each partition that `capacity` allows, and the state for the next scan."""
    temporary, start = folder.path / "tmp", time.monotonic()
    shutil.rmtree(temporary, ignore_errors=True)
    with storing(temporary):
        temporary.mkdir(parents=True)
    try:
        files = scan_files(job, temporary, grant, patience_seconds)
        hashes = RowHashes([(found.task.hashes, found.rows) for found in files])
        if fault := capacity_fault(job, hashes.rows):
            raise DataError(fault)
        filled = {found.task.source for found in files if found.rows}
        for number in range(len(job.sources)):
            if number not in filled:
                log.warning("%s", why_empty(job, number))
        if not renumber:
            _check_unmoved(job, folder, hashes, results)
        refused = _refused(job, files, hashes, temporary)
        folder.forget_settings("columns")
        _write(job, folder, files, hashes, refused)
        columns = {"columns": job.columns, "modalities": job.modalities}
        write_json(results / job.columns_file, columns)
        seconds = time.monotonic() - start
        say(Worked(what=f"scan {job.dataset}", samples=hashes.rows, seconds=seconds))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def capacity_fault(job: ScanJob, rows: int) -> str | None:
    """Why so many rows do not fit the config, and what to set."""
    where, size = f"datasets.{job.dataset}", job.rows_per_job
    if rows == 0:
        reasons = [why_empty(job, number) for number in range(len(job.sources))]
        return f"{where}: the sources hold no samples: {'; '.join(reasons)}"
    if rows <= job.capacity:
        return None
    jobs = -(-rows // size)
    return (
        f"{where}: {rows:,} samples exceed capacity: {job.capacity}; "
        f"set capacity: {jobs * size} ({jobs} jobs of {size:,} rows)"
    )


# Checks -------------------------------------------------------------------------------------------


def _check_unmoved(job: ScanJob, folder: IndexFolder, hashes: RowHashes, results: Path) -> None:
    before = _before(folder)
    for part in before["parts"]:
        first, stop = part["first"], part["stop"]
        if stop > hashes.rows or hashes.keys_digest(first, stop) != part["keys"]:
            raise DataError(
                f"datasets.{job.dataset}: rows {first:,} to {stop - 1:,} are no longer the "
                f"samples they were ({before['rows']:,} rows then, {hashes.rows:,} now); put new "
                "data in a new entry at the end of `source`; or, to number all rows anew and "
                f"compute again what moved, run: {_renumber(job, results)}"
            )


def _before(folder: IndexFolder) -> ScanState:
    """What the last scan found; where that is lost, what was committed of it."""
    if folder.state.exists():
        return read_json(folder.state, ScanState)
    if not folder.dataset.exists():
        return ScanState(rows=0, parts=[])
    about = Index(folder).about
    parts = [
        ScannedPart(first=part["first"], stop=part["first"] + part["rows"], keys=part["keys"])
        for part in about["parts"]
        if part["rows"]
    ]
    return ScanState(rows=about["rows"], parts=parts)


def _renumber(job: ScanJob, results: Path) -> str:
    settings = argument(job.to_json(), results, write=True)
    words = ["sampan", "scan", "--renumber", "--results", str(results), "--spec", settings]
    return shlex.join(words)


def _refused(job: ScanJob, files: list[FileScan], hashes: RowHashes, temporary: Path) -> Refused:
    """Rows with an empty or repeated key; `DataError` unless these are to be quarantined."""
    if untidy := [key for found in files for key in found.untidy]:
        log.warning(
            "datasets.%s: keys are taken as they are, white space and Unicode forms included, so "
            "that two which look alike may be two samples, such as %s",
            job.dataset, ", ".join(ascii(shortened(key)) for key in untidy[:SHOWN]),
        )  # fmt: skip
    if job.on_duplicate == "trust":
        return Refused([], [])
    starts = list(accumulate((found.rows for found in files), initial=0))[:-1]
    pairs = list(zip(starts, files, strict=True))
    empty = [start + row for start, found in pairs for row in found.empty]
    unusable = [start + row for start, found in pairs for row in found.unusable]
    without = np.array([*empty, *unusable], np.int64)
    repeated, firsts = (found.tolist() for found in duplicates(hashes, without, temporary))
    if job.on_duplicate == "error":
        _check_keys(job.dataset, repeated, firsts, empty)
    reasons = {row: "empty key" for row in empty} | {
        row: f"duplicate key: the same as row {first:,}"
        for row, first in zip(repeated, firsts, strict=True)
    }
    return Refused(sorted(reasons), [reasons[row] for row in sorted(reasons)])


def _check_keys(dataset: str, repeated: list[int], firsts: list[int], empty: list[int]) -> None:
    faults = []
    if repeated:
        pairs = zip(repeated, firsts, strict=True)
        shown = _first_ten([f"{row:,} (as row {first:,})" for row, first in pairs])
        faults.append(
            f"datasets.{dataset}: {len(repeated):,} keys repeat an earlier one, counting rows from "
            f"0: row {shown}; make keys unique, or set on_duplicate: quarantine"
        )
    if empty:
        shown = _first_ten([f"{row:,}" for row in empty])
        faults.append(
            f"datasets.{dataset}: {len(empty):,} keys are empty, counting rows from 0: row {shown};"
            " fill them, or set on_duplicate: quarantine"
        )
    if faults:
        raise DataError(faults)


def _first_ten(rows: list[str]) -> str:
    return ", ".join(rows[:SHOWN]) + (", …" if len(rows) > SHOWN else "")


# Writing the plans --------------------------------------------------------------------------------


def _write(
    job: ScanJob,
    folder: IndexFolder,
    files: list[FileScan],
    hashes: RowHashes,
    refused: Refused,
) -> None:
    """
    A plan for each partition, then the state: a scan that was killed in between is no state.

    A partition whose plan is another than the last scan's loses its receipt, and so is listed anew.
    """
    rows, size = hashes.rows, job.rows_per_job
    before = _before(folder).get("listed", {})
    digests: dict[str, str] = {}
    numbers = job.partitions
    starts = list(accumulate((found.rows for found in files), initial=0))
    parts = []
    for path, sharing in groupby(numbers, lambda part: folder.plan(part, len(numbers))):
        plans = {}
        for part in sharing:
            first = part * size
            stop = max(first, min(first + size, rows))
            keys = hashes.keys_digest(first, stop)
            plans[f"{part:05d}"] = {
                "first": first,
                "rows": stop - first,
                "pieces": _pieces(files, starts, first, stop),
                "keys": keys,
                "content": hashes.cells_digest(first, stop),
                "refused": refused.between(first, stop),
            }
            if first < stop:
                parts.append({"first": first, "stop": stop, "keys": keys})
        for name, plan in plans.items():
            digests[name] = digest_of([plan, job.columns, job.modalities])[:32]
            if digests[name] != before.get(name):
                folder.receipt("columns", int(name)).unlink(missing_ok=True)
        write_json(path, plans)
    folder.keep_only(len(numbers), job.modalities)
    write_json(folder.state, with_checksum({"rows": rows, "parts": parts, "listed": digests}))
    log.info(
        "scan %s: %d files; %d of %d partitions hold data",
        job.dataset, len(files), len(parts), len(numbers),
    )  # fmt: skip


def _pieces(
    files: list[FileScan], starts: list[int], first: int, stop: int
) -> list[dict[str, Any]]:
    """Where the rows [first, stop) lie: in each file an offset, rows to skip, rows to take."""
    pieces = []
    number = bisect_right(starts, first) - 1
    while first < stop:
        found, start = files[number], starts[number]
        end = min(stop, start + found.rows)
        if first < end:
            nearest = bisect_right(found.positions, first - start, key=itemgetter(0)) - 1
            row, offset = found.positions[nearest]
            entry = found.task.job.sources[found.task.source]
            pieces.append(
                {
                    "source": found.task.source,
                    "settings": entry.source.values,
                    "version": entry.version,
                    "file": str(found.task.file),
                    "offset": offset,
                    "skip": first - start - row,
                    "rows": end - first,
                    "stamp": found.stamp,
                }
                | ({"allow": entry.allow} if entry.allow else {})
            )
            first = end
        number += 1
    return pieces
