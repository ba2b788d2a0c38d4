"""The shards of a partition, made by workers in rounds: those that died are searched for why."""

import gc
import logging
import time
from collections.abc import Sequence
from functools import cache, partial

from sampan.compute import Grant, Pool, WorkerDied, Workers, cluster
from sampan.errors import DataError
from sampan.events import CulpritFound, Planned, Worked, say
from sampan.execution.culprits import culprits
from sampan.execution.shard import make_shard
from sampan.execution.shard_job import Made, ShardTask
from sampan.execution.timings import Timings
from sampan.execution.turn import Turn
from sampan.progress import Progress, show_progress
from sampan.storage.durable import patiently
from sampan.store.ledger import Attempt
from sampan.store.partition import Partition

log = logging.getLogger("sampan")

ROUNDS = 3
"""How often a shard is tried whose worker dies."""


def make_shards(
    partition: Partition,
    tasks: Sequence[ShardTask],
    grant: Grant,
    workers: Workers,
    turn: Turn,
) -> None:
    """
    Run the tasks, appending a record for each shard that is durable; `StoppedEarly` where its turn
    is over before they are done.

    A shard whose worker died is searched for the samples that killed it and made again without
    them; one that storage keeps from being read or written is tried again while patience lasts. The
    first other fault ends the job.
    """
    name = f"{tasks[0].maker.verb} {tasks[0].job.stage.variant}"
    memory_mb = grant.memory_mb // grant.workers(workers)
    start = time.monotonic()
    timings = Timings()
    total = sum(task.stop - task.first for task in tasks)
    what = f"{name} part {partition.part}"
    say(Planned(what=what, shards=len(tasks), adopted=len(partition.done), samples=total))
    with (
        partition.attempt() as attempt,
        cluster(grant, workers) as pool,
        show_progress(name, total) as progress,
    ):
        once = partial(
            _round, partition, attempt, pool, turn=turn, progress=progress, timings=timings
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
    say(
        Worked(
            what=what,
            samples=total,
            seconds=time.monotonic() - start,
            busy=timings.shares(),
            busy_seconds=timings.seconds,
        )
    )


def _round(
    partition: Partition,
    attempt: Attempt,
    pool: Pool,
    tasks: Sequence[ShardTask],
    *,
    turn: Turn,
    progress: Progress,
    timings: Timings,
) -> list[ShardTask]:
    """Run the tasks once; those whose worker died come back."""
    died: list[ShardTask] = []
    ended = 0
    for outcome in pool.run(_make_patiently, tasks, stop=turn.is_over):
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


def _make_patiently(task: ShardTask) -> Made:
    made = patiently(partial(make_shard, task), task.patience_seconds, str(task))
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
    log.warning("a worker died at rows %d to %d; looking for why", task.first, task.stop - 1)
    found = culprits(task, memory_mb)
    for row, reason in found.items():
        say(CulpritFound(row=row, reason=reason), logging.WARNING)
    return task.without(found)
