"""One partition of a stage: adopt the shards that there are, make the others, write the receipt."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from sampan.compute import Grant
from sampan.errors import DataError
from sampan.execution.rounds import make_shards
from sampan.execution.shard_job import ShardMaker, ShardTask
from sampan.execution.turn import Turn, take_turn
from sampan.execution.upstream import within
from sampan.plan.jobs import ShardsJob
from sampan.storage.durable import PATIENCE_SECONDS, patiently
from sampan.store.documents import Rows
from sampan.store.layout import Layout, pin, valid_layout
from sampan.store.partition import Partition, category
from sampan.store.variant import Variant

log = logging.getLogger("sampan")


def make_partition_in_turn(
    maker: ShardMaker[Any],
    results: Path,
    part: int,
    receipt: Path,
    grant: Grant,
    patience_seconds: float,
) -> None:
    """`make_partition`, once no other attempt is at work on it, and while storage is in trouble."""
    variant = Variant.of(results, maker.job.stage)
    what = f"{maker.verb} {variant.path.name} part {part}"
    with take_turn(variant.leases, f"part-{part:05d}", what, patience_seconds) as turn:
        work = partial(make_partition, maker, results, part, receipt, grant, patience_seconds, turn)
        patiently(work, patience_seconds, f"{maker.verb} part {part}")


def make_partition(
    maker: ShardMaker[Any],
    results: Path,
    part: int,
    receipt: Path,
    grant: Grant,
    patience_seconds: float = PATIENCE_SECONDS,
    turn: Turn | None = None,
) -> Partition:
    """Make all shards of a partition that are not recorded yet, then its receipt."""
    job: ShardsJob = maker.job
    variant = Variant.of(results, job.stage)
    turn = turn or Turn()
    outbox = turn.outbox(variant.path)
    upstream = maker.upstream.receipt(results, part)
    if upstream["rows"] or variant.layout.exists():
        layout = pin(variant.layout, maker.layout(variant.layout, grant))
    else:  # beyond the data; the layout is left to those that have rows
        layout = _empty(job)
    partition = _partition(variant, layout, upstream, outbox)
    if partition.rows:
        inputs = maker.upstream.inputs(results, partition)
        todo = partition.adopt(inputs.keys)
        if todo:
            maker.check_memory(grant)
            workers, device = maker.workers(grant)
            worker = maker.for_workers()
            tasks = [
                ShardTask(
                    maker=worker,
                    results=results,
                    part=part,
                    shard=shard,
                    first=partition.rows_of(shard).start,
                    stop=partition.rows_of(shard).stop,
                    key=inputs.keys[shard],
                    outbox=outbox,
                    patience_seconds=patience_seconds,
                    device=device,
                    threads=max(1, grant.threads // grant.workers(workers)),
                    absent=within(inputs.absent, partition.rows_of(shard)),
                )
                for shard in todo
            ]
            make_shards(partition, tasks, grant, workers, turn)
    _settle(maker, results, partition, receipt, patience_seconds)
    return partition


def _partition(variant: Variant, layout: Layout, upstream: Rows, outbox: Path) -> Partition:
    return Partition(
        variant,
        layout,
        upstream["part"],
        upstream["first"],
        upstream["rows"],
        upstream["keys"],
        outbox,
    )


def _empty(job: ShardsJob) -> Layout:
    return Layout(
        settings=job.stage.digest,
        rows_per_part=job.rows_per_job,
        rows_per_shard=job.rows_per_job,
        arrays={"valid": valid_layout(job.rows_per_job)},
    )


def _settle(
    maker: ShardMaker[Any],
    results: Path,
    partition: Partition,
    receipt: Path,
    patience_seconds: float,
) -> None:
    """
    Write `valid`, the quarantine and, last, the receipt; `DataError` where this partition alone has
    more invalid samples than `max_invalid` allows. The whole stage is checked at its commit.
    """
    job, invalid = maker.job, partition.invalid
    own = maker.upstream.own_faults(invalid)
    most = job.max_invalid * max(partition.rows, job.rows_per_job)
    if len(own) > most:
        reasons = sorted({category(reason) for _, reason in own})
        name = job.stage.variant
        raise DataError(
            f"{name}: {len(own):,} of {partition.rows:,} samples are invalid "
            f"({', '.join(reasons[:5])}); max_invalid: {job.max_invalid:g} allows {int(most):,}; "
            f"raise it, or mend the data and run: sampan forget {name}"
        )
    columns = maker.upstream.quarantined(results, partition, [row for row, _ in invalid])

    def write() -> dict[str, Any]:
        value = partition.finish(columns)
        partition.write_receipt(receipt, value)
        return value

    value = patiently(write, patience_seconds, str(receipt))
    log.info(
        "part %d done: %s rows, %s valid%s %s",
        partition.part, f"{value['rows']:,}", f"{value['valid']:,}",
        f", {value['absent']:,} absent" if "absent" in value else "", value["reasons"] or "",
    )  # fmt: skip
