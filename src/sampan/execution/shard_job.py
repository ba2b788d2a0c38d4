"""
What the engine asks of a stage, and of a worker: who makes shards, from which rows, and one task.

A stage that is made a shard at a time gives the engine a `ShardMaker`. What its rows are made of is
an `Upstream`: the samples' sources, or the arrays of a stage above.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar

from sampan.compute import Grant, Workers
from sampan.execution.read_ahead import ReadAhead
from sampan.execution.timings import Timings
from sampan.plan.jobs import ShardsJob
from sampan.store.documents import Rows
from sampan.store.layout import Layout
from sampan.store.ledger import Record
from sampan.store.partition import Partition

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JobT = TypeVar("JobT", bound=ShardsJob)


@dataclass
class Block:
    """Rows of a shard, which are numbered from 0: `data` (row, …), zeros where not `valid`."""

    rows: range
    data: "NDArray[Any]"
    valid: "NDArray[np.bool_]"
    length: "NDArray[np.int32] | None"
    postponed: list[int] = field(default_factory=list)
    """Rows of the shard for which there was no memory while a batch was encoded."""


class ShardRows(Protocol):
    """The rows that one shard is made of, read ahead; and what was found on the way."""

    @property
    def row_bytes(self) -> int: ...

    def ahead(self, rows_at_once: int, *, threads: int, most_bytes: int) -> ReadAhead[Block]:
        """The shard in blocks of so many rows."""
        ...

    def settle(self, block: Block) -> None:
        """Called with each block, in order, before it is used: its verdicts are then final."""
        ...

    def end(self) -> None:
        """All rows were read: `StorageError` where that was while storage was away."""
        ...

    def arrays(self) -> Mapping[str, "NDArray[Any]"]:
        """Name → (row, …): what is stored beside the stage's own array, if its layout has it."""
        ...

    @property
    def invalid(self) -> Mapping[int, str]:
        """Row of the dataset → why it is not valid."""
        ...

    @property
    def absent(self) -> Sequence[int]:
        """Rows of the dataset that have no value; ascending."""
        ...

    @property
    def notes(self) -> Mapping[str, int]: ...

    @property
    def content(self) -> str:
        """One digest over all rows' source bytes; empty where none were read."""
        ...


class Inputs(NamedTuple):
    """What a partition's shards are made of."""

    keys: Mapping[int, str]
    """Shard → digest of the settings and of what it is made from."""
    absent: Sequence[int] = ()
    """Rows that have no value in what was stored above; ascending."""


class Upstream(Protocol):
    """Where the rows of a stage come from."""

    def receipt(self, results: Path, part: int) -> Rows:
        """Which rows a partition has."""
        ...

    def inputs(self, results: Path, partition: Partition) -> Inputs: ...

    def own_faults(self, invalid: Sequence[tuple[int, str]]) -> Sequence[tuple[int, str]]:
        """Those of the rows which were valid above, and so count for `max_invalid`."""
        ...

    def quarantined(
        self, results: Path, partition: Partition, rows: Sequence[int]
    ) -> dict[str, list[Any]]:
        """Columns of the quarantine for these rows, which ascend, beside row and reason."""
        ...

    def open(self, task: "ShardTask", timings: Timings) -> ShardRows:
        """In a worker."""
        ...

    def blocks(self, task: "ShardTask") -> Iterator[tuple[int, Callable[[], Block | None]]]:
        """
        Rows that are to be tried one by one: each with what reads it as a block of one row, or as
        None where that is no use. In a process that may die.
        """
        ...


@dataclass(frozen=True)
class ShardMaker(ABC, Generic[JobT]):
    """
    How a stage's shards are made, with the settings of its job.

    It goes to workers as it is, so that it holds nothing but the job.
    """

    job: JobT

    verb: ClassVar[str]

    @property
    @abstractmethod
    def upstream(self) -> Upstream: ...

    # In the job's own process -----------------------------------------------------------------

    @abstractmethod
    def layout(self, pinned: Path, grant: Grant) -> Layout:
        """The stage's layout, where there are rows; `pinned` is the file of the one there is."""
        ...

    @abstractmethod
    def check_memory(self, grant: Grant) -> None:
        """`ConfigError` with numbers where the grant is too small."""
        ...

    @abstractmethod
    def workers(self, grant: Grant) -> tuple[Workers, str]:
        """What kind of workers, and the device that they use."""
        ...

    def for_workers(self) -> Self:
        """What makes the shards; another where some settings are known only now."""
        return self

    # In a worker ------------------------------------------------------------------------------

    def prepare(self, task: "ShardTask") -> None:
        """Load what the work needs and keep it for the next shard; this time is not its work's."""
        return

    @abstractmethod
    def threads(self, task: "ShardTask") -> Mapping[str, int]:
        """Stage of the work → threads that are at it."""
        ...

    @abstractmethod
    def make(
        self,
        task: "ShardTask",
        rows: ShardRows,
        layout: Layout,
        write: Callable[["NDArray[Any]"], None],
        timings: Timings,
    ) -> Mapping[int, str]:
        """
        Pass the rows of the stage's own array to `write`, in order.

        Returns the rows of the dataset that were valid above and have no value here, and why.
        """
        ...

    @abstractmethod
    def try_row(self, task: "ShardTask", block: Block) -> None:
        """Do with a block of one row what may kill the process."""
        ...


def name_of(maker: ShardMaker[Any]) -> list[str]:
    """By which another process finds the class."""
    return [type(maker).__module__, type(maker).__qualname__]


def maker_of(name: Sequence[str], job: Any) -> ShardMaker[Any]:
    module, qualname = name
    kind: type[ShardMaker[Any]] = getattr(importlib.import_module(module), qualname)
    return kind(kind.__annotations__["job"].from_json(job))


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """Rows [first, stop) of one shard, made by `maker`."""

    maker: ShardMaker[Any]
    results: Path
    part: int
    shard: int
    first: int
    stop: int
    key: str
    outbox: Path
    """The folder that the shard is published from."""
    patience_seconds: float
    device: str = "cpu"
    threads: int = 1
    """Of the worker that makes it."""
    poison: tuple[tuple[int, str], ...] = ()
    """Rows not to be touched, with their reasons."""
    absent: tuple[int, ...] = ()
    """Rows that have no value in what was stored; ascending."""

    @property
    def job(self) -> ShardsJob:
        job: ShardsJob = self.maker.job
        return job

    def without(self, rows: Mapping[int, str]) -> Self:
        """The same, with these rows not to be touched either."""
        return replace(self, poison=tuple({**dict(self.poison), **rows}.items()))

    def __str__(self) -> str:
        return f"{self.maker.verb} rows {self.first:,} to {self.stop - 1:,}"


class Made(NamedTuple):
    """A shard's record, and what it took, which is not part of it."""

    record: Record
    timings: Timings | None = None
