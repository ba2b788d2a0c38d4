"""
Make a finished stage visible: check every shard against the ledger, then write `dataset.json`.

For the index that is the list of its partitions; for any other stage also the arrays' `zarr.json`.
The receipts are those of all partitions; tens of thousands would not fit on a command line.
"""

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan.errors import DataError, StorageError
from sampan.plan import Stage
from sampan.steps import job
from sampan.store.committed import commit
from sampan.store.durable import read_json, write_json
from sampan.store.index import IndexFolder


def arguments(parser: argparse.ArgumentParser) -> None:
    job.arguments(parser)


def run(args: argparse.Namespace) -> None:
    if "stage" in args.spec:
        commit_stage(args.spec, args.results)
    else:
        commit_index(args.spec, args.results)


def commit_stage(spec: dict[str, Any], results: Path) -> None:
    """Commit a variant of a stage, unless more of its samples are invalid than `max_invalid`."""
    stage, variant = job.stage_of(spec["stage"]), job.variant_of(results, spec["stage"])
    receipts = [variant.receipt(part) for part in job.partitions(spec)]
    rows = 0
    reasons: Counter[str] = Counter()
    for path in receipts:
        receipt = read_json(path)
        if receipt["settings"] != stage.digest:
            raise StorageError(
                f"{path}: made with other settings; run: sampan forget {stage.variant}"
            )
        rows += receipt["rows"]
        reasons.update(receipt["reasons"])
    if fault := too_many_invalid(stage, rows, reasons, spec["max_invalid"]):
        raise DataError(fault)
    header = {"stage": spec["stage"], "made_with": spec["made_with"]}
    about = commit(variant, receipts, header)
    job.log.info(
        "commit %s: %s rows, %s valid, %s bytes",
        stage.variant, f"{about['rows']:,}", f"{about['valid']:,}", f"{about['bytes']:,}",
    )  # fmt: skip


def too_many_invalid(
    stage: Stage, rows: int, reasons: Mapping[str, int], max_invalid: float
) -> str | None:
    """Why a stage cannot serve, if more of its samples are invalid than that fraction."""
    above = f"{stage.name.partition('.')[0]} is not valid"
    own = {reason: samples for reason, samples in reasons.items() if reason != above}
    invalid = sum(own.values())
    if invalid <= max_invalid * rows:
        return None
    return (
        f"{stage.dataset}: {stage.variant}: {invalid:,} of {rows:,} samples are invalid "
        f"({', '.join(sorted(own)[:5])}); max_invalid: {max_invalid:g} allows "
        f"{int(max_invalid * rows):,}; raise it, or mend the data and run: "
        f"sampan forget {stage.variant}"
    )


def commit_index(spec: dict[str, Any], results: Path) -> None:
    """List the index's partitions, with the digests of their keys, labels, groups and splits."""
    folder = IndexFolder(results / spec["dataset"] / "index")
    folder.forget_settings("split")
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
    write_json(results / spec["split_file"], {"split": spec["split"]})
