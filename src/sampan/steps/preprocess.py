"""
Decode one modality of one partition into its canonical array, a shard at a time.

A sample that cannot be decoded keeps its row, is marked not valid, and stands in the quarantine
with its reason. Shards that are recorded are adopted; only the others are made.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sampan.compute import Grant, Workers
from sampan.execution.decoding import DIGEST
from sampan.execution.engine import make_partition_in_turn
from sampan.execution.shard_job import Block, ShardMaker, ShardRows, ShardTask
from sampan.execution.timings import WAIT, Timings
from sampan.execution.upstream import Sources
from sampan.plan import memory
from sampan.plan.jobs import PreprocessJob
from sampan.plugins import ArraySpec, Modality
from sampan.steps.flags import add_flags, grant_of
from sampan.store import layout as layouts
from sampan.store.layout import Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTH = ArraySpec((), (), "int32")


def arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, PreprocessJob, part=True, grant=True)


def run(args: argparse.Namespace) -> None:
    make_partition_in_turn(
        Preprocessor(args.job),
        args.results,
        args.part,
        args.receipt,
        grant_of(args),
        args.patience_seconds,
    )


@dataclass(frozen=True)
class Preprocessor(ShardMaker[PreprocessJob]):
    """Stores samples as they are decoded."""

    job: PreprocessJob

    verb: ClassVar[str] = "preprocess"

    @property
    def _plugin(self) -> Modality:
        return self.job.modality.make(self.job.stage.name)

    @property
    def upstream(self) -> Sources:
        return Sources(self.job, in_processes=self._plugin.workers == "processes")

    def layout(self, pinned: Path, grant: Grant) -> Layout:
        return choose_layout(self.job, self._plugin)

    def check_memory(self, grant: Grant) -> None:
        needed = memory.modality_mb(self._plugin, grant.threads)
        grant.need(needed, f"preprocess {self.job.stage.name}", memory.advice_on(self._plugin))

    def workers(self, grant: Grant) -> tuple[Workers, str]:
        return self._plugin.workers, "cpu"

    def threads(self, task: ShardTask) -> Mapping[str, int]:
        return {"read": 1, "decode": 1, "write": 1, WAIT: 1}

    def make(
        self,
        task: ShardTask,
        rows: ShardRows,
        layout: Layout,
        write: Callable[["NDArray[Any]"], None],
        timings: Timings,
    ) -> Mapping[int, str]:
        size = layout.arrays[layout.main].rows_per_chunk
        with rows.ahead(size, threads=1, most_bytes=memory.WRITE_AHEAD_BYTES) as blocks:
            for block in blocks:
                rows.settle(block)
                write(block.data)
        return {}

    def try_row(self, task: ShardTask, block: Block) -> None:
        """Decoding was all."""


def choose_layout(job: PreprocessJob, plugin: Modality) -> Layout:
    """
    The canonical array first, then `length` where there is one, and the source bytes' digests.
    """
    specs = {job.stage.name: plugin.array()}
    if plugin.has_length:
        specs["length"] = LENGTH
    specs["digest"] = DIGEST
    return layouts.choose(
        job.stage.digest,
        specs,
        job.rows_per_job,
        capacity=job.capacity,
        rows_per_shard=job.rows_per_shard,
    )
