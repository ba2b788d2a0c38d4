"""An estimate as one JSON document for machines: the numbers and sources of the table."""

from typing import Any

from sampan.operations.estimate.quota import Need
from sampan.operations.estimate.totals import Estimate, Line


def as_json(found: Estimate, config: str) -> dict[str, Any]:
    """The same numbers and sources; null where a number is not known."""
    return {
        "config": config,
        "datasets": {
            name: {
                "rows": rows.rows,
                "rows_per_job": rows.rows_per_job,
                "partitions": rows.partitions,
                "source": rows.source,
            }
            for name, rows in found.rows.items()
        },
        "steps": [_step(line) for line in found.lines],
        "snakemake": {
            "bytes": found.snakemake.bytes,
            "files": found.snakemake.files,
            "source": found.snakemake.source,
        },
        "machines": {
            "nodes": found.machines.nodes,
            "jobs_per_node": found.machines.jobs_per_node,
            "job_overhead_seconds": found.machines.job_overhead_seconds,
            "watts": found.machines.watts,
            "source": "stated",
        },
        "total": {
            "jobs": sum(line.work.submitted + line.work.local for line in found.lines),
            "submitted": sum(line.work.submitted for line in found.lines),
            "bytes": _need(found.bytes),
            "files": _need(found.files),
            "node_hours": _need(found.node_hours),
            "kilowatt_hours": found.kilowatt_hours and _need(found.kilowatt_hours),
        },
        "schedule": {
            "start": found.start.isoformat(),
            "end": found.end.isoformat(),
            "earliest_seconds": found.schedule.earliest_seconds,
            "latest_seconds": found.schedule.latest_seconds,
            "chain_seconds": found.schedule.chain_seconds,
            "complete": not found.node_hours.unknown,
        },
        "input": {
            "bytes": sum(item.bytes for item in found.inputs),
            "complete": all(item.bytes_per_sample is not None for item in found.inputs),
            "mean_bytes_per_second": found.mean_bytes_per_second,
            "modalities": [
                {
                    "step": item.timed.work.label,
                    "bytes_per_sample": item.bytes_per_sample,
                    "peak_bytes_per_second": item.peak_bytes_per_second,
                    "source": item.source,
                }
                for item in found.inputs
            ],
        },
        "quota": [
            {
                "name": line.name,
                "allowed": line.allowed,
                "needed": line.need and _need(line.need),
                "kept": line.kept,
            }
            for line in found.quota
        ],
        "warnings": list(found.warnings()),
    }


def _need(need: Need) -> dict[str, Any]:
    return {"amount": need.amount, "complete": not need.unknown, "unknown": list(need.unknown)}


def _step(line: Line) -> dict[str, Any]:
    rate = line.timed.rate
    return {
        "step": line.work.step,
        "dataset": line.work.dataset,
        "name": line.work.name,
        "jobs": {"submitted": line.work.submitted, "local": line.work.local}
        | {"rules": dict(line.work.rules)},
        "samples": line.work.rows,
        "samples_per_second": rate and rate.samples_per_second,
        "startup_seconds": rate and rate.startup_seconds,
        "node_hours": line.timed.node_hours,
        "rate_source": rate.source if rate else "not measured",
        "bytes": line.size.bytes,
        "files": line.size.files,
        "size_source": line.size.source,
    }
