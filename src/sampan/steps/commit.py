"""
Make a finished stage visible: check every shard against the ledger, then write `dataset.json`.

For the index that is the list of its partitions; for any other stage also the arrays' `zarr.json`.
The receipts are those of all partitions; tens of thousands would not fit on a command line.
"""

import argparse
from pathlib import Path
from typing import Any

from sampan.errors import DataError, StorageError
from sampan.steps import job
from sampan.store.committed import commit
from sampan.store.durable import read_json, write_json
from sampan.store.index import IndexFolder


def arguments(parser: argparse.ArgumentParser) -> None:
    job.arguments(parser)


def run(args: argparse.Namespace) -> None:
    if "stage" in args.spec:
        stage = job.stage_of(args.spec["stage"])
        leases, what = args.results / stage.folder / "leases", f"commit {stage.variant}"
        with job.turn(leases, "commit", what, patience_seconds=0) as turn:
            commit_stage(args.spec, args.results, turn)
    else:
        commit_index(args.spec, args.results)


def commit_stage(spec: dict[str, Any], results: Path, turn: job.Turn) -> None:
    """Commit a variant of a stage, unless more of its samples are invalid than `max_invalid`."""
    stage, variant = job.stage_of(spec["stage"]), job.variant_of(results, spec["stage"])
    receipts = [variant.receipt(part) for part in job.partitions(spec)]
    above = f"{stage.name.partition('.')[0]} is not valid"
    rows = invalid = 0
    reasons: set[str] = set()
    for path in receipts:
        receipt = read_json(path)
        if receipt["settings"] != stage.digest:
            raise StorageError(
                f"{path}: made with other settings; run: sampan forget {stage.variant}"
            )
        own = {reason: n for reason, n in receipt["reasons"].items() if reason != above}
        rows += receipt["rows"]
        invalid += sum(own.values())
        reasons |= set(own)
    if invalid > spec["max_invalid"] * rows:
        raise DataError(
            f"{stage.dataset}: {stage.variant}: {invalid:,} of {rows:,} samples are invalid "
            f"({', '.join(sorted(reasons)[:5])}); max_invalid: {spec['max_invalid']:g} allows "
            f"{int(spec['max_invalid'] * rows):,}; raise it, or mend the data and run: "
            f"sampan forget {stage.variant}"
        )
    header = {"stage": spec["stage"], "made_with": spec["made_with"]}
    turn.check(f"commit {stage.variant}")
    about = commit(variant, receipts, header, turn.outbox(variant.path))
    job.log.info(
        "commit %s: %s rows, %s valid, %s bytes",
        stage.variant, f"{about['rows']:,}", f"{about['valid']:,}", f"{about['bytes']:,}",
    )  # fmt: skip


def commit_index(spec: dict[str, Any], results: Path) -> None:
    """List the index's partitions, with the digests of their keys, labels, groups and splits."""
    folder = IndexFolder(results / spec["dataset"] / "index")
    parts = [read_json(folder.receipt("columns", part)) for part in job.partitions(spec)]
    write_json(
        folder.dataset,
        {
            "format": 1,
            "dataset": spec["dataset"],
            "rows": sum(part["rows"] for part in parts),
            "capacity": spec["capacity"],
            "rows_per_job": spec["rows_per_job"],
            "columns": spec["columns"],
            "modalities": spec["modalities"],
            "split": spec["split"],
            "parts": parts,
        },
    )
