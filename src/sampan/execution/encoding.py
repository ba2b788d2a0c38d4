"""
Blocks of rows → embeddings, in batches.

Blocks and batches are cut by the shard's rows, their lengths and the encoder alone, so that the
same rows give the same bytes whatever was fast or slow.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sampan.errors import PluginError
from sampan.execution.backoff import BegunRows
from sampan.execution.limits import ThreadLimit
from sampan.execution.loaded_encoder import LoadedEncoder
from sampan.execution.shard_job import Block
from sampan.execution.timings import Timings
from sampan.plan import memory
from sampan.plugins import Encode, PadsRows, PendingEmbeddings, ReadyEmbeddings

DTYPE = "float16"
BATCHES_IN_A_BLOCK = 64
"""Of rows that are put in the order of their lengths."""
ROWS_OVER_BATCH = 8
"""How many times more rows than `batch` may be in one of short rows."""
ALIKE = 0.9
"""A batch ends before rows that cost less than this share of its longest."""
PARTS_OF_A_BATCH = 8
"""A batch that is smaller than one in so many parts of a full one takes shorter rows too."""


class Encoding:
    """
    Blocks of one shard → embeddings, in row order; `invalid` are those that have none.

    `first` is the shard's first row in the dataset. On a GPU an encoder that queues batches has one
    under way while the next is begun.
    """

    def __init__(
        self,
        loaded: LoadedEncoder,
        shape: tuple[int, ...],
        timings: Timings,
        *,
        first: int,
    ) -> None:
        self._loaded, self._shape, self._timings = loaded, shape, timings
        self._cpu_limit = ThreadLimit("processes" if loaded.workers == "processes" else "threads")
        self._first = first
        self.invalid: dict[int, str] = {}

    def of(self, blocks: Iterable[Block]) -> Iterator[NDArray[np.float16]]:
        """(row, embedding) of each block, in their order; NaN where there is none."""
        under_way: deque[_BegunBatch] = deque()
        made: deque[_EncodedBlock] = deque()
        ahead = 0 if self._loaded.queue is None else 1
        for block in blocks:
            out = np.full((len(block.rows), *self._shape), np.nan, DTYPE)
            made.append(_EncodedBlock(self._prepared(block), out))
            for rows in cut_batches(made[-1].block, self._loaded.batch, self._loaded.padding):
                for part in self._loaded.memory.cut(rows):
                    under_way.append(self._begun(made[-1], part))
                    while len(under_way) > ahead:
                        self._end(under_way.popleft())
            del block
            while made and not made[0].waits_for:
                yield made.popleft().out
        for last in under_way:
            self._end(last)
        for rest in made:
            yield rest.out

    def _prepared(self, block: Block) -> Block:
        """The block in the encoder's own elements; rows that are not valid stay untouched."""
        if self._loaded.preparation is None or not block.valid.any():
            return block
        rows = np.flatnonzero(block.valid)
        with self._timings.at("encode"), self._cpu_limit:
            some, used = self._loaded.preparation.prepare(*_taken(block, rows))
        if len(rows) == len(block.rows):
            return replace(block, data=some, length=used)
        data = np.zeros((len(block.rows), *some.shape[1:]), some.dtype)
        length = np.zeros(len(block.rows), used.dtype)
        data[rows], length[rows] = some, used
        return replace(block, data=data, length=length)

    def _begun(self, made: "_EncodedBlock", rows: NDArray[np.intp]) -> "_BegunBatch":
        made.waits_for += 1
        start = perf_counter()
        with self._cpu_limit, np.errstate(over="ignore"):
            begun = self._loaded.memory.begin(
                lambda some: begin(self._loaded, made.block, some), rows
            )
        return _BegunBatch(made, rows, begun, perf_counter() - start)

    def _end(self, part: "_BegunBatch") -> None:
        out, rows, start = part.made.out, part.rows, perf_counter()
        with self._cpu_limit, np.errstate(over="ignore"):
            found = part.begun.end()
            if found.shape != (len(rows), *self._shape):
                raise PluginError(
                    f"{self._loaded.what}: its encoder gave embeddings {found.shape} "
                    f"for {len(rows)} rows of {self._shape[0]} dimensions"
                )
            out[rows] = found
        took = part.begun.seconds
        here = part.seconds + perf_counter() - start
        self._timings.add("encode", here if took is None else took)
        first = self._first + part.made.block.rows.start
        for i in np.flatnonzero(~np.isfinite(out[rows]).all(axis=1)):
            reason = "is beyond float16" if np.isfinite(found[i]).all() else "is not finite"
            self.invalid[int(first + rows[i])] = f"the embedding {reason}"
            out[rows[i]] = np.nan
        part.made.waits_for -= 1

    def close(self) -> None:
        self._cpu_limit.close()


@dataclass
class _EncodedBlock:
    """A block and what its rows become; it waits for so many batches that are under way."""

    block: Block
    out: NDArray[np.float16]
    waits_for: int = 0


class _BegunBatch(NamedTuple):
    """Rows of a block that were begun, in so many seconds of this thread."""

    made: _EncodedBlock
    rows: NDArray[np.intp]
    begun: BegunRows
    seconds: float


def rows_at_once(loaded: LoadedEncoder, row_bytes: int) -> int:
    """
    Rows of a block: a batch, fewer where one thread would hold too much of long rows, or as many as
    it takes to find rows of like length.
    """
    batch = loaded.batch
    if loaded.padding is None:
        return memory.rows_of_block(loaded.workers, batch, row_bytes)
    most = memory.AHEAD_BYTES[loaded.workers] // 4 // max(1, row_bytes)
    return max(batch, min(BATCHES_IN_A_BLOCK * batch, most))


def cut_batches(block: Block, batch: int, padding: PadsRows | None) -> list[NDArray[np.intp]]:
    """
    Places of valid rows within the block, cut into batches.

    With `padding` the longest come first, and as many rows as cost no more than `batch` rows of
    full length; fewer where the next ones are shorter, so that little is padded.
    """
    usable = np.flatnonzero(block.valid)
    if padding is not None and block.length is not None:
        return _by_length(usable, block, batch, padding.row_overhead)
    return [usable[start : start + batch] for start in range(0, len(usable), batch)]


def _by_length(
    usable: NDArray[np.intp], block: Block, batch: int, overhead: int
) -> list[NDArray[np.intp]]:
    assert block.length is not None
    ordered = usable[np.argsort(-block.length[usable], kind="stable")]
    cost = block.length[ordered] + overhead
    budget = batch * (block.data.shape[-1] + overhead)
    parts, start = [], 0
    while start < len(ordered):
        fits = int(budget // cost[start])
        alike = int(np.searchsorted(-cost[start:], -ALIKE * cost[start], side="right"))
        most = min(fits, ROWS_OVER_BATCH * batch)
        stop = start + max(1, min(most, max(alike, fits // PARTS_OF_A_BATCH)))
        parts.append(ordered[start:stop])
        start = stop
    return parts


def encode_rows(encode: Encode, block: Block, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """(row) places within the block → (row, embedding)."""
    return encode(*_taken(block, rows))


def begin(loaded: LoadedEncoder, block: Block, rows: NDArray[np.intp]) -> PendingEmbeddings:
    """The same, queued where the encoder can; done where it cannot."""
    if loaded.queue is not None:
        return loaded.queue.begin(*_taken(block, rows))
    return ReadyEmbeddings(encode_rows(loaded.encode, block, rows))


def _taken(block: Block, rows: NDArray[np.intp]) -> tuple[NDArray[Any], NDArray[np.int32] | None]:
    """What an encoder gets of some rows; a view where it can be one."""
    together = bool(len(rows)) and bool((np.diff(rows) == 1).all())
    data = block.data[rows[0] : rows[-1] + 1] if together else block.data[rows]
    return data, None if block.length is None else block.length[rows]
