"""
Make a finished stage visible: check every shard against the ledger, then write `dataset.json`.

For the index that is the list of its partitions; for any other stage also the arrays' `zarr.json`.
The receipts are those of all partitions; tens of thousands would not fit on a command line.
"""

import argparse
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sampan.errors import DataError, StorageError
from sampan.execution.turn import Turn, take_turn
from sampan.index.parts import IndexFolder, IndexPart
from sampan.plan.jobs import CommitIndexJob, CommitJob, changed_settings
from sampan.steps.flags import add_events, add_spec
from sampan.storage.durable import read_json, with_checksum, write_json
from sampan.store.committed import commit
from sampan.store.documents import ColumnsReceipt, Receipt
from sampan.store.variant import Variant

log = logging.getLogger("sampan")


def arguments(parser: argparse.ArgumentParser) -> None:
    add_spec(parser, _job)
    parser.add_argument("--results", type=Path, required=True, help="the results folder")
    add_events(parser)


def run(args: argparse.Namespace) -> None:
    if isinstance(args.job, CommitJob):
        stage = args.job.stage
        leases, what = args.results / stage.folder / "leases", f"commit {stage.variant}"
        with take_turn(leases, "commit", what, patience_seconds=0) as turn:
            commit_stage(args.job, args.results, turn)
    else:
        commit_index(args.job, args.results)


def _job(value: Any) -> CommitJob | CommitIndexJob:
    is_stage = isinstance(value, dict) and "stage" in value
    return CommitJob.from_json(value) if is_stage else CommitIndexJob.from_json(value)


def commit_stage(job: CommitJob, results: Path, turn: Turn) -> None:
    """Commit a variant of a stage, unless more of its samples are invalid than `max_invalid`."""
    stage, variant = job.stage, Variant.of(results, job.stage)
    receipts = [variant.receipt(part) for part in job.partitions]
    rows = present = 0
    reasons: Counter[str] = Counter()
    for path in receipts:
        receipt = read_json(path, Receipt)
        if receipt["settings"] != stage.digest:
            raise StorageError(
                f"{path}: made with other settings; run: sampan forget {stage.variant}"
            )
        rows += receipt["rows"]
        present += receipt["rows"] - receipt.get("absent", 0)
        reasons.update(receipt["reasons"])
    counts = Counts(rows, present, reasons)
    if fault := too_many_invalid(job, results, counts):
        raise DataError(fault)
    said = job.to_json()
    header: dict[str, Any] = {
        name: said[name] for name in ("stage", "above", "made_with") if name in said
    }
    turn.check(f"commit {stage.variant}")
    about = commit(variant, receipts, header, turn.outbox(variant.path))
    log.info(
        "commit %s: %s rows, %s valid, %s absent, %s bytes",
        stage.variant, *(f"{about[name]:,}" for name in ("rows", "valid", "absent", "bytes")),
    )  # fmt: skip


class Counts(NamedTuple):
    """Rows of a stage."""

    rows: int
    present: int
    """Those whose cells are not empty."""
    reasons: Mapping[str, int]
    """Why others are not valid, and how many."""


def too_many_invalid(job: CommitJob, results: Path, counts: Counts) -> str | None:
    """
    Why a stage cannot serve, if more of the samples that it has are invalid than that share.

    What is not valid above is counted there; a stage that reads samples itself has none of it. Rows
    that the index refuses are compared with all rows: whether they have this modality is not known,
    and a modality that few rows have would seem broken by them.
    """
    stage, max_invalid = job.stage, job.max_invalid
    above = f"{stage.modality} is not valid" if job.above else None
    own = {reason: samples for reason, samples in counts.reasons.items() if reason != above}
    invalid, present = sum(own.values()), counts.present
    if invalid <= max_invalid * present:
        return None
    if above not in counts.reasons:
        refused = _refused(IndexFolder(results / stage.dataset / "index"), counts.rows)
        others = invalid - refused
        if refused <= max_invalid * counts.rows and others <= max_invalid * (present - refused):
            return None
    return (
        f"{stage.dataset}: {stage.variant}: {invalid:,} of {present:,} samples are invalid "
        f"({', '.join(sorted(own)[:5])}); max_invalid: {max_invalid:g} allows "
        f"{int(max_invalid * present):,}; raise it, or mend the data and run: "
        f"sampan forget {stage.variant}"
    )


def _refused(folder: IndexFolder, rows: int) -> int:
    """How many of the dataset's first rows its index has a reason against."""
    refused = part = 0
    while rows > 0 and folder.part(part).exists():
        table = IndexPart(folder.part(part))
        reasons = table.read(["reason"])["reason"][:rows]
        refused += sum(reason is not None for reason in reasons)
        rows, part = rows - table.rows, part + 1
    return refused


def commit_index(job: CommitIndexJob, results: Path) -> None:
    """List the index's partitions, with the digests of their keys, labels, groups and splits."""
    folder = IndexFolder(results / job.dataset / "index")
    folder.forget_settings("split")
    parts = [read_json(folder.receipt("columns", part), ColumnsReceipt) for part in job.partitions]
    split = changed_settings(job.split)
    about = with_checksum(
        {
            "format": 1,
            "dataset": job.dataset,
            "rows": sum(part["rows"] for part in parts),
            "capacity": job.capacity,
            "rows_per_job": job.rows_per_job,
            "columns": job.columns,
            "modalities": job.modalities,
            "split": split,
            "parts": parts,
        }
    )
    write_json(folder.dataset, about)
    write_json(results / job.split_file, {"split": split})
