"""
What preprocess and extract share: tasks, the ledger of an attempt, fatal samples, the receipt.
"""

import gc
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from sampan.compute import Grant, Pool, WorkerDied, Workers, cluster
from sampan.errors import DataError
from sampan.steps.flags import stage_of
from sampan.steps.progress import Progress, show_progress
from sampan.steps.timings import Timings, in_words
from sampan.steps.turn import Turn
from sampan.store.durable import patiently
from sampan.store.ledger import Attempt, Record
from sampan.store.partition import Partition, category

log = logging.getLogger("sampan")

ROUNDS = 3
"""How often a shard is tried whose worker dies."""


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """Rows [first, stop) of one shard; `poison` are rows not to be touched, with their reasons."""

    step: str
    spec: dict[str, Any]
    results: str
    part: int
    shard: int
    first: int
    stop: int
    key: str
    outbox: str
    """The folder that the shard is published from."""
    patience_seconds: float
    device: str = "cpu"
    threads: int = 1
    """Of the worker that makes it."""
    poison: tuple[tuple[int, str], ...] = ()
    absent: tuple[int, ...] = ()
    """Rows that have no value in what was stored; ascending."""

    def poison_dict(self) -> dict[int, str]:
        return dict(self.poison)

    def __str__(self) -> str:
        return f"{self.step} rows {self.first:,} to {self.stop - 1:,}"


class Made(NamedTuple):
    """A shard's record, and what it took, which is not part of it."""

    record: Record
    timings: Timings | None = None


def make_shards(
    partition: Partition,
    tasks: Sequence[ShardTask],
    work: Callable[[ShardTask], Made],
    grant: Grant,
    workers: Workers,
    turn: Turn | None = None,
) -> None:
    """
    Run the tasks, appending a record for each shard that is durable; `StoppedEarly` where its turn
    is over before they are done. How busy their stages were is said in the log.

    A shard whose worker died is searched for the samples that killed it and made again without
    them; one that storage keeps from being read or written is tried again while patience lasts. The
    first other fault ends the job.
    """
    name = f"{tasks[0].step} {stage_of(tasks[0].spec['stage']).variant}"
    log.info(
        "%s part %d: %d shards to make, %d adopted",
        name, partition.part, len(tasks), len(partition.done),
    )  # fmt: skip
    turn = turn or Turn()
    memory_mb = grant.memory_mb // grant.workers(workers)
    start = time.monotonic()
    timings = Timings()
    total = sum(task.stop - task.first for task in tasks)
    with (
        partition.attempt() as attempt,
        cluster(grant, workers) as pool,
        show_progress(name, total) as progress,
    ):
        once = partial(
            _round, partition, attempt, pool, work=work, turn=turn, progress=progress,
            timings=timings,
        )  # fmt: skip
        left = once(tasks)
        for _ in range(ROUNDS - 1):
            turn.check(name)
            left = once([_without_culprits(task, memory_mb) for task in left])
        if left:
            raise DataError(
                f"{name}: workers died {ROUNDS} times at rows "
                + ", ".join(f"{task.first:,} to {task.stop - 1:,}" for task in left)
                + "; no single sample kills one; raise mem_mb of this rule, or see the log"
            )
    seconds = time.monotonic() - start
    log.info(
        "%s part %d: %s samples in %.1f s (%s/s)",
        name, partition.part, f"{total:,}", seconds, f"{total / seconds:,.0f}",
    )  # fmt: skip
    if shares := timings.shares():
        words = in_words(shares, timings.seconds, grant.threads)
        log.info("%s part %d: %s", name, partition.part, words)


def _round(
    partition: Partition,
    attempt: Attempt,
    pool: Pool,
    tasks: Sequence[ShardTask],
    *,
    work: Callable[[ShardTask], Made],
    turn: Turn,
    progress: Progress,
    timings: Timings,
) -> list[ShardTask]:
    """Run the tasks once; those whose worker died come back."""
    died: list[ShardTask] = []
    ended = 0
    for outcome in pool.run(partial(_patiently, work), tasks, stop=turn.is_over):
        ended += 1
        if isinstance(outcome.fault, WorkerDied):
            died.append(outcome.task)
        elif outcome.fault is not None:
            raise outcome.fault
        else:
            turn.check(str(outcome.task), to_record=True)
            record, took = outcome.result
            patiently(
                partial(attempt.append, record), outcome.task.patience_seconds, str(attempt.path)
            )
            partition.done[outcome.task.shard] = record
            progress.add(record.rows)
            if took is not None:
                timings.merge(took)
    if ended < len(tasks):
        turn.check(f"{ended} of {len(tasks)} shards made")
    return died


def _patiently(work: Callable[[ShardTask], Made], task: ShardTask) -> Made:
    made = patiently(partial(work, task), task.patience_seconds, str(task))
    _keep_what_is_loaded()
    return made


@cache
def _keep_what_is_loaded() -> None:
    """
    A worker has loaded all modules with its first shard: the garbage collector need not look at
    their quarter of a million objects again and again. What is garbage by now goes first, or it
    would stay too, with the memory of a device that it may hold.
    """
    gc.collect()
    gc.freeze()


def _without_culprits(task: ShardTask, memory_mb: int) -> ShardTask:
    from sampan.steps.isolate import culprits

    log.warning("a worker died at rows %d to %d; looking for why", task.first, task.stop - 1)
    found = culprits(task, memory_mb)
    for row, reason in found.items():
        log.warning("row %d %s", row, reason)
    return replace(task, poison=tuple((task.poison_dict() | found).items()))


def check_invalid(
    spec: dict[str, Any], partition: Partition, invalid: list[tuple[int, str]]
) -> list[tuple[int, str]]:
    """
    Stop where one partition alone breaks `max_invalid`; the whole stage is checked at its commit.
    """
    most = spec["max_invalid"] * max(partition.rows, spec["rows_per_job"])
    too_many(stage_of(spec["stage"]).variant, invalid, partition.rows, most, spec["max_invalid"])
    return invalid


def too_many(
    name: str, invalid: Sequence[tuple[int, str]], rows: int, most: float, max_invalid: float
) -> None:
    if len(invalid) > most:
        reasons = sorted({category(reason) for _, reason in invalid})
        raise DataError(
            f"{name}: {len(invalid):,} of {rows:,} samples are invalid ({', '.join(reasons[:5])}); "
            f"max_invalid: {max_invalid:g} allows {int(most):,}; raise it, or mend the data and "
            f"run: sampan forget {name}"
        )


def settle(
    partition: Partition,
    receipt: Path,
    quarantined: dict[str, list[Any]],
    patience_seconds: float,
) -> None:
    """Write `valid`, the quarantine and, last, the receipt."""

    def write() -> dict[str, Any]:
        value = partition.finish(quarantined)
        partition.write_receipt(receipt, value)
        return value

    value = patiently(write, patience_seconds, str(receipt))
    log.info(
        "part %d done: %s rows, %s valid%s %s",
        partition.part, f"{value['rows']:,}", f"{value['valid']:,}",
        f", {value['absent']:,} absent" if "absent" in value else "", value["reasons"] or "",
    )  # fmt: skip
