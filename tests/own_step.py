"""
A step of one's own on the engine: rows that are functions of their numbers, from no source at all.

Its settings say which rows kill their worker, and where a disk is full for a while.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sampan.compute import Grant, Workers
from sampan.errors import StorageError
from sampan.execution.read_ahead import ReadAhead
from sampan.execution.shard_job import Block, Inputs, ShardMaker, ShardTask
from sampan.execution.timings import WAIT, Timings
from sampan.plan import Stage
from sampan.plan.jobs import ModalitySettings, ShardsJob
from sampan.plugins import ArraySpec
from sampan.store import layout as layouts
from sampan.store.layout import Layout

ROWS, SHARD = 32, 8
NOTHING = 13
"""A row that has no value."""


@dataclass(frozen=True, kw_only=True)
class SquaresJob(ShardsJob):
    """`kills` are rows that kill their worker; `full` is a folder, one file a full disk."""

    kills: tuple[int, ...] = ()
    full: str = ""
    workers: str = "threads"


def job(**settings: Any) -> SquaresJob:
    return SquaresJob(
        stage=Stage("measures", "d", "numbers.squares", "0" * 64),
        capacity=ROWS,
        rows_per_job=ROWS,
        max_invalid=settings.pop("max_invalid", 0.2),
        modality=ModalitySettings({"kind": "text"}),
        rows_per_shard=SHARD,
        **settings,
    )


@dataclass(frozen=True)
class Numbers:
    """Rows that are their numbers."""

    job: SquaresJob

    def receipt(self, results: Path, part: int) -> Any:
        return {"part": part, "first": 0, "rows": ROWS, "keys": "the numbers"}

    def inputs(self, results: Path, partition: Any) -> Inputs:
        return Inputs({shard: f"numbers {shard}" for shard in partition.shards})

    def own_faults(self, invalid: Sequence[tuple[int, str]]) -> Sequence[tuple[int, str]]:
        return invalid

    def quarantined(self, results: Path, partition: Any, rows: Sequence[int]) -> dict[str, Any]:
        return {"key": [f"n{row}" for row in rows]}

    def open(self, task: ShardTask, timings: Timings) -> "NumberRows":
        return NumberRows(task, timings)

    def blocks(self, task: ShardTask) -> Iterator[tuple[int, Callable[[], Block | None]]]:
        for row in range(task.first, task.stop):
            yield row, lambda row=row: _block(range(row - task.first, row - task.first + 1), row)


def _block(rows: range, first: int) -> Block:
    data = np.arange(first, first + len(rows), dtype=np.int64)[:, None]
    return Block(rows, data, data[:, 0] != NOTHING, None)


class NumberRows:
    """One shard's numbers."""

    row_bytes = 8
    content = ""
    notes: ClassVar[Mapping[str, int]] = {"counted": 1}
    absent = ()

    def __init__(self, task: ShardTask, timings: Timings) -> None:
        self._task, self._timings = task, timings
        self.invalid: dict[int, str] = {}

    def ahead(self, rows_at_once: int, *, threads: int, most_bytes: int) -> ReadAhead[Block]:
        rows = self._task.stop - self._task.first
        cut = [range(at, min(at + rows_at_once, rows)) for at in range(0, rows, rows_at_once)]
        return ReadAhead(
            self, cut, readers=0, fillers=1, block_bytes=most_bytes, read_bytes=0,
            timings=self._timings,
        )  # fmt: skip

    def settle(self, block: Block) -> None:
        known = dict(self._task.poison)
        for i in block.rows:
            row = self._task.first + i
            if row in known or not block.valid[i - block.rows.start]:
                block.valid[i - block.rows.start] = False
                self.invalid[row] = known.get(row, "no value: unlucky")

    def end(self) -> None:
        pass

    def arrays(self) -> Mapping[str, Any]:
        return {}

    def size(self, rows: range) -> int:
        return 8 * len(rows)

    def begin(self, rows: range) -> Block:
        return _block(rows, self._task.first + rows.start)

    def read(self, rows: range) -> tuple[None, int]:
        return None, 0

    def filler(self) -> "NumberRows":
        return self

    def fill(self, block: Block, rows: range, found: None) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Squares(ShardMaker[SquaresJob]):
    """Stores each row's square."""

    job: SquaresJob

    verb: ClassVar[str] = "square"

    @property
    def upstream(self) -> Numbers:
        return Numbers(self.job)

    def layout(self, pinned: Path, grant: Grant) -> Layout:
        specs = {"squares": ArraySpec(("embedding",), (1,), "float32")}
        return layouts.choose(self.job.stage.digest, specs, ROWS, rows_per_shard=SHARD)

    def check_memory(self, grant: Grant) -> None:
        grant.need(10, "square")

    def workers(self, grant: Grant) -> tuple[Workers, str]:
        return self.job.workers, "cpu"  # type: ignore[return-value] # one of its words

    def threads(self, task: ShardTask) -> Mapping[str, int]:
        return {"read": 1, "write": 1, WAIT: 1}

    def make(
        self, task: ShardTask, rows: Any, layout: Layout, write: Callable[[Any], None],
        timings: Timings,
    ) -> Mapping[int, str]:  # fmt: skip
        self._meet_a_full_disk(task)
        with rows.ahead(4, threads=1, most_bytes=1000) as blocks:
            for block in blocks:
                rows.settle(block)
                for i in np.flatnonzero(block.valid):
                    self._meet(int(block.data[i, 0]))
                found = block.data.astype(np.float32) ** 2
                write(np.where(block.valid[:, None], found, np.nan).astype(np.float32))
        return {}

    def try_row(self, task: ShardTask, block: Block) -> None:
        self._meet(int(block.data[0, 0]))

    def _meet(self, row: int) -> None:
        if row in self.job.kills:
            os.kill(os.getpid(), signal.SIGSEGV)

    def _meet_a_full_disk(self, task: ShardTask) -> None:
        for file in Path(self.job.full).glob(f"{task.shard}*") if self.job.full else ():
            if "for-ever" not in file.name:
                file.unlink()
            raise StorageError("shard: cannot be written") from OSError(28, "No space left")
