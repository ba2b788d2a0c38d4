"""
Blocks of rows → embeddings, in batches.

Blocks and batches are cut by the shard's rows, their lengths and the encoder alone, so that the
same rows give the same bytes whatever was fast or slow.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sampan.errors import PluginError
from sampan.execution.limits import ThreadLimit
from sampan.execution.loaded_encoder import LoadedEncoder
from sampan.execution.out_of_memory import EncodingBatch
from sampan.execution.shard_job import Block
from sampan.execution.timings import Timings
from sampan.plan import memory
from sampan.plugins import Encode, Pending, PreparesRows, QueuesBatches

DTYPE = "float16"
BATCHES_IN_A_BLOCK = 64
"""Of rows that are put in the order of their lengths."""
ROWS_OVER_BATCH = 8
"""How many times more rows than `batch` may be in one of short rows."""
ALIKE = 0.9
"""A batch ends before rows that cost less than this share of its longest."""
PARTS_OF_A_BATCH = 8
"""A batch that is smaller than one in so many parts of a full one takes shorter rows too."""
ELEMENTS_OF_A_ROW = 8
"""That a row costs beside its length: its first and last token, its part of every call."""


class Encoding:
    """
    Blocks of one shard → embeddings, in row order; `invalid` are those that have none.

    `first` is the shard's first row in the dataset, `what` names the work, `advice` what to change
    where one row does not fit in memory. On a GPU an encoder that can `begin` has one batch under
    way while the next is begun.
    """

    def __init__(
        self,
        loaded: LoadedEncoder,
        shape: tuple[int, ...],
        timings: Timings,
        *,
        first: int,
        what: str,
        advice: str = "",
    ) -> None:
        self._loaded, self._shape, self._timings = loaded, shape, timings
        encode = loaded.encode
        self._begin: Callable[..., Pending] | None = None
        if loaded.device == "cuda" and isinstance(encode, QueuesBatches):
            self._begin = encode.begin
        self._prepare = encode.prepare if isinstance(encode, PreparesRows) else None
        in_processes = loaded.encoder.workers == "processes"
        self._cpu_limit = ThreadLimit("processes" if in_processes else "threads")
        self._first, self._what, self._advice = first, what, advice
        self.invalid: dict[int, str] = {}

    def of(self, blocks: Iterable[Block]) -> Iterator[NDArray[np.float16]]:
        """(row, embedding) of each block, in their order; NaN where there is none."""
        under_way: deque[_Part] = deque()
        made: deque[_Made] = deque()
        for block in blocks:
            out = np.full((len(block.rows), *self._shape), np.nan, DTYPE)
            made.append(_Made(self._prepared(block), out))
            for rows in cut(made[-1].block, self._loaded.batch, by_length=self._loaded.pads):
                for part in self._loaded.limit.parts(rows):
                    under_way.append(self._begun(made[-1], part))
                    while len(under_way) > (0 if self._begin is None else 1):
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
        if self._prepare is None or not block.valid.any():
            return block
        rows = np.flatnonzero(block.valid)
        with self._timings.at("encode"), self._cpu_limit:
            some, used = self._prepare(*_taken(block, rows))
        if len(rows) == len(block.rows):
            return replace(block, data=some, length=used)
        data = np.zeros((len(block.rows), *some.shape[1:]), some.dtype)
        length = np.zeros(len(block.rows), used.dtype)
        data[rows], length[rows] = some, used
        return replace(block, data=data, length=length)

    def _begun(self, made: "_Made", rows: NDArray[np.intp]) -> "_Part":
        made.waits_for += 1
        begin = partial(begun, self._loaded.encode, self._begin, made.block)
        start = perf_counter()
        with self._cpu_limit, np.errstate(over="ignore"):
            batch = EncodingBatch(begin, rows, self._loaded.limit, self._what, self._advice)
        return _Part(made, rows, batch, perf_counter() - start)

    def _end(self, part: "_Part") -> None:
        out, rows, start = part.made.out, part.rows, perf_counter()
        with self._cpu_limit, np.errstate(over="ignore"):
            found = part.batch.end()
            if found.shape != (len(rows), *self._shape):
                raise PluginError(
                    f"{self._what}: its encoder gave embeddings {found.shape} "
                    f"for {len(rows)} rows of {self._shape[0]} dimensions"
                )
            out[rows] = found
        took = part.batch.seconds
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
class _Made:
    """A block and what its rows become; it waits for so many parts that are under way."""

    block: Block
    out: NDArray[np.float16]
    waits_for: int = 0


class _Part(NamedTuple):
    """Rows of a block that were begun, in so many seconds of this thread."""

    made: _Made
    rows: NDArray[np.intp]
    batch: EncodingBatch
    seconds: float


def rows_at_once(loaded: LoadedEncoder, row_bytes: int) -> int:
    """
    Rows of a block: a batch, fewer where one thread would hold too much of long rows, or as many as
    it takes to find rows of like length.
    """
    workers, batch = loaded.encoder.workers, loaded.batch
    if not loaded.pads:
        return memory.rows_of_block(workers, batch, row_bytes)
    most = memory.AHEAD_BYTES[workers] // 4 // max(1, row_bytes)
    return max(batch, min(BATCHES_IN_A_BLOCK * batch, most))


def cut(block: Block, batch: int, *, by_length: bool) -> list[NDArray[np.intp]]:
    """
    Places of valid rows within the block, cut into batches.

    `by_length`: the longest first, and as many rows as cost no more than `batch` rows of full
    length; fewer where the next ones are shorter, so that little is padded.
    """
    usable = np.flatnonzero(block.valid)
    if by_length and block.length is not None:
        return _by_length(usable, block.length, batch, block.data.shape[-1])
    return [usable[start : start + batch] for start in range(0, len(usable), batch)]


def _by_length(
    usable: NDArray[np.intp], length: NDArray[np.int32], batch: int, longest: int
) -> list[NDArray[np.intp]]:
    ordered = usable[np.argsort(-length[usable], kind="stable")]
    cost = length[ordered] + ELEMENTS_OF_A_ROW
    budget = batch * (longest + ELEMENTS_OF_A_ROW)
    parts, start = [], 0
    while start < len(ordered):
        fits = int(budget // cost[start])
        alike = int(np.searchsorted(-cost[start:], -ALIKE * cost[start], side="right"))
        most = min(fits, ROWS_OVER_BATCH * batch)
        stop = start + max(1, min(most, max(alike, fits // PARTS_OF_A_BATCH)))
        parts.append(ordered[start:stop])
        start = stop
    return parts


def encoded(encode: Encode, block: Block, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """(row) places within the block → (row, embedding)."""
    return encode(*_taken(block, rows))


def begun(
    encode: Encode, begin: Callable[..., Pending] | None, block: Block, rows: NDArray[np.intp]
) -> Pending:
    """The same, queued where the encoder can; done where it cannot."""
    if begin is not None:
        return begin(*_taken(block, rows))
    found = encoded(encode, block, rows)
    return lambda: found


def _taken(block: Block, rows: NDArray[np.intp]) -> tuple[NDArray[Any], NDArray[np.int32] | None]:
    """What an encoder gets of some rows; a view where it can be one."""
    together = bool(len(rows)) and bool((np.diff(rows) == 1).all())
    data = block.data[rows[0] : rows[-1] + 1] if together else block.data[rows]
    return data, None if block.length is None else block.length[rows]
