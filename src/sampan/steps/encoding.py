"""
Blocks of rows → embeddings, in batches.

Blocks and batches are cut by the shard's rows, their lengths and the encoder alone, so that the
same rows give the same bytes whatever was fast or slow.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from sampan import plan
from sampan.errors import PluginError
from sampan.plugins import Encode, Encoder
from sampan.steps import job
from sampan.steps.batches import in_batches
from sampan.steps.decoding import Block
from sampan.steps.limits import ThreadLimit
from sampan.steps.shards import ShardTask
from sampan.steps.timings import Timings

DTYPE = "float16"
BATCHES_IN_A_BLOCK = 64
"""Of rows that are put in the order of their lengths."""
ROWS_OVER_BATCH = 8
"""How many times more rows than `batch` may be in one of short rows."""
ELEMENTS_OF_A_ROW = 8
"""That a row costs beside its length: its first and last token, its part of every call."""


class Encoding:
    """Blocks of one shard → embeddings, in row order; `invalid` are those that have none."""

    def __init__(
        self,
        task: ShardTask,
        encoder: Encoder,
        encode: Encode,
        shape: tuple[int, ...],
        timings: Timings,
    ) -> None:
        self._task, self._encoder, self._encode = task, encoder, encode
        self._shape, self._timings = shape, timings
        self._limit = ThreadLimit("processes" if encoder.workers == "processes" else "threads")
        variant = job.stage_of(task.spec["stage"]).variant
        self._what = f"extract {variant}"
        self.invalid: dict[int, str] = {}

    def of(self, block: Block) -> NDArray[np.float16]:
        """(row, embedding); NaN where there is none."""
        out = np.full((len(block.rows), *self._shape), np.nan, DTYPE)
        first = self._task.first + block.rows.start
        for rows in batches(block, self._encoder.batch, by_length=pads(self._encode)):
            with self._timings.at("encode"), self._limit, np.errstate(over="ignore"):
                encode = partial(encoded, self._encode, block)
                found = in_batches(encode, rows, self._what, self._task.device)
                if found.shape != (len(rows), *self._shape):
                    raise PluginError(
                        f"encoders {self._task.spec['encoder']['kind']!r}: gave embeddings "
                        f"{found.shape} for {len(rows)} rows of {self._shape[0]} dimensions"
                    )
                out[rows] = found
            for i in np.flatnonzero(~np.isfinite(out[rows]).all(axis=1)):
                reason = "is beyond float16" if np.isfinite(found[i]).all() else "is not finite"
                self.invalid[int(first + rows[i])] = f"the embedding {reason}"
                out[rows[i]] = np.nan
        return out

    def close(self) -> None:
        self._limit.close()


def pads(encode: Encode) -> bool:
    return bool(getattr(encode, "pads", False))


def rows_at_once(encoder: Encoder, encode: Encode, row_bytes: int) -> int:
    """Rows of a block: a batch, or as many as it takes to find rows of like length."""
    if not pads(encode):
        return encoder.batch
    most = plan.AHEAD_BYTES[encoder.workers] // 4 // max(1, row_bytes)
    return max(encoder.batch, min(BATCHES_IN_A_BLOCK * encoder.batch, most))


def batches(block: Block, batch: int, *, by_length: bool) -> list[NDArray[np.intp]]:
    """
    Places of valid rows within the block, cut into batches.

    `by_length`: the longest first, and as many rows as cost no more than `batch` rows of full
    length.
    """
    usable = np.flatnonzero(block.valid)
    if by_length and block.length is not None:
        return _by_length(usable, block.length, batch, block.data.shape[1])
    return [usable[start : start + batch] for start in range(0, len(usable), batch)]


def _by_length(
    usable: NDArray[np.intp], length: NDArray[np.int32], batch: int, longest: int
) -> list[NDArray[np.intp]]:
    ordered = usable[np.argsort(-length[usable], kind="stable")]
    budget = batch * (longest + ELEMENTS_OF_A_ROW)
    parts, start = [], 0
    while start < len(ordered):
        fits = budget // (int(length[ordered[start]]) + ELEMENTS_OF_A_ROW)
        stop = start + max(1, min(fits, ROWS_OVER_BATCH * batch))
        parts.append(ordered[start:stop])
        start = stop
    return parts


def encoded(encode: Encode, block: Block, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """(row) places within the block → (row, embedding); a view goes in where one can."""
    together = bool(len(rows)) and bool((np.diff(rows) == 1).all())
    data = block.data[rows[0] : rows[-1] + 1] if together else block.data[rows]
    return encode(data, None if block.length is None else block.length[rows])
