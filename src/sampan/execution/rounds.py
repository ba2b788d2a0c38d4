"""The shards of a partition, made by workers in rounds: those that died are searched for why."""

import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

from sampan.compute import Grant, Pool, WorkerDied, Workers, can_fork, children, cluster, threads
from sampan.errors import DataError
from sampan.events import CulpritFound, Planned, Worked, say
from sampan.execution.culprits import culprits
from sampan.execution.shard import make_shard
from sampan.execution.shard_job import Made, ShardTask
from sampan.execution.timings import Timings
from sampan.execution.turn import Turn
from sampan.progress import Progress, show_progress
from sampan.storage.durable import patiently
from sampan.store.ledger import LedgerWriter, Record
from sampan.store.partition import Partition

log = logging.getLogger("sampan")

ROUNDS = 3
"""How often a shard is tried whose worker dies."""
BRIEF_SECONDS = 60
"""What takes no longer than this is done before Dask's workers would have paid for their start."""
LOOK_SECONDS = 5
"""After which it is known how long the work takes."""


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

    Forked children begin; where they would need more than `BRIEF_SECONDS`, Dask's workers go on.
    Threads are threads of this process. A shard whose worker died is searched for the samples that
    killed it and made again without them; one that storage keeps from being read or written is
    tried again while patience lasts. The first other fault ends the job.
    """
    name = f"{tasks[0].maker.verb} {tasks[0].job.stage.variant}"
    start = time.monotonic()
    timings = Timings()
    total = sum(task.stop - task.first for task in tasks)
    what = f"{name} part {partition.part}"
    say(Planned(what=what, shards=len(tasks), adopted=len(partition.done), samples=total))
    with partition.open_ledger() as writer, show_progress(name, total) as progress:
        rounds = _Rounds(name, partition, writer, grant, workers, turn, progress, timings)
        left: Sequence[ShardTask] = tasks
        if workers == "threads":
            with threads(grant) as pool:
                left = rounds.run(pool, left)
        elif can_fork(workers):
            with children(grant, workers) as pool:
                left = rounds.run(pool, left, is_long=_Estimate(total, progress))
        if left:
            with cluster(grant, workers) as pool:
                rounds.run(pool, left)
    say(
        Worked(
            what=what,
            samples=total,
            seconds=time.monotonic() - start,
            busy=timings.shares(),
            busy_seconds=timings.seconds,
        )
    )


class _Estimate:
    """Whether work that has begun would take long, at the rate so far."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress = total, progress
        self._start = time.monotonic()

    def __call__(self) -> bool:
        seconds, done = time.monotonic() - self._start, self._progress.done
        left = self._total - done
        return seconds > LOOK_SECONDS and done > 0 and seconds * left > BRIEF_SECONDS * done


@dataclass(frozen=True)
class _Rounds:
    """All that the tries at a partition's shards share."""

    name: str
    partition: Partition
    writer: LedgerWriter
    grant: Grant
    workers: Workers
    turn: Turn
    progress: Progress
    timings: Timings

    def run(
        self,
        pool: Pool,
        tasks: Sequence[ShardTask],
        is_long: Callable[[], bool] = lambda: False,
    ) -> list[ShardTask]:
        """
        Run the tasks, some again; those come back that were not begun because it `is_long`.

        `DataError` where workers die each time.
        """
        memory_mb = self.grant.memory_mb // self.grant.workers(self.workers)
        later: list[ShardTask] = []
        for _ in range(ROUNDS):
            died, unbegun = self._once(pool, tasks, is_long)
            later += unbegun
            if not died:
                return later
            self.turn.check(self.name)
            tasks = [_without_culprits(task, memory_mb) for task in died]
        raise DataError(
            f"{self.name}: workers died {ROUNDS} times at rows "
            + ", ".join(f"{task.first:,} to {task.stop - 1:,}" for task in tasks)
            + "; no single sample kills one; raise mem_mb of this rule, or see the log"
        )

    def _once(
        self, pool: Pool, tasks: Sequence[ShardTask], is_long: Callable[[], bool]
    ) -> tuple[list[ShardTask], list[ShardTask]]:
        """Run the tasks once: those whose worker died, and those that were not begun."""
        died: list[ShardTask] = []
        waiting = deque(tasks)
        for outcome in pool.run(
            _make_patiently, _taken(waiting), stop=lambda: self.turn.is_over() or is_long()
        ):
            if isinstance(outcome.fault, WorkerDied):
                died.append(outcome.task)
            elif outcome.fault is not None:
                raise outcome.fault
            else:
                self._record(outcome.task, *outcome.result)
        if waiting:
            self.turn.check(f"{len(tasks) - len(waiting)} of {len(tasks)} shards made")
        return died, list(waiting)

    def _record(self, task: ShardTask, record: Record, took: Timings | None) -> None:
        self.turn.check(str(task), to_record=True)
        append = partial(self.writer.append, record)
        patiently(append, task.patience_seconds, str(self.writer.path))
        self.partition.done[task.shard] = record
        self.progress.add(record.rows)
        if took is not None:
            self.timings.merge(took)


def _taken(waiting: deque[ShardTask]) -> Iterator[ShardTask]:
    while waiting:
        yield waiting.popleft()


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
