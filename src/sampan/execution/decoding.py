"""
Rows of one shard, from the index through the source to decoded arrays.

What `preprocess` stores and what `extract` decodes straight into an encoder comes from here alike:
the same bytes, verdicts, quarantine and digests.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.errors import InvalidSample
from sampan.execution.limits import ThreadLimit
from sampan.execution.out_of_memory import is_out_of_memory
from sampan.execution.read_ahead import ReadAhead
from sampan.execution.sample_bytes import SampleBytes
from sampan.execution.shard_job import Block, ShardTask
from sampan.execution.timings import Timings
from sampan.index.parts import IndexPart, cell_line
from sampan.plan.jobs import ModalitySettings, ShardsJob
from sampan.plugins import ArraySpec, Decoded, Modality, Shortened
from sampan.sources.files import Content
from sampan.store.identity import content_hash, digest_lines

DIGEST = ArraySpec(("byte",), (16,), "uint8")

CUT_BY = tuple(f"cut by {percent} to {percent + 10} %" for percent in range(0, 100, 10))
"""Notes beside "cut": how much of the sample the row has no room for, in tenths."""

Found = Content | InvalidSample | MemoryError | None
"""Of one sample's source: its content, or why there is none; None where its cell is empty."""


def shard_key(job: ShardsJob, table: IndexPart, rows: range) -> str:
    """What a shard is made of that is decoded from the source: the settings, and its cells."""
    lines = (
        cell_line(table.versions[root], cell, reason)
        for batch in table.batches(["root", job.stage.modality, "reason"], rows)
        for root, cell, reason in zip(*batch.values(), strict=True)
    )
    return digest_lines(chain([job.stage.digest, str(rows.start)], lines))


def quarantined(path: Path, modality: str, rows: Sequence[int]) -> dict[str, list[Any]]:
    """Key and cell of these rows, which ascend; a row group of the index is held at a time."""
    if not rows:
        return {}
    table = IndexPart(path)
    found: dict[str, list[Any]] = {"key": [], "cell": []}
    wanted = iter(rows)
    row = next(wanted, None)
    first = table.first
    for cells in table.batches(["key", modality]):
        stop = first + len(cells["key"])
        while row is not None and row < stop:
            found["key"].append(cells["key"][row - first])
            found["cell"].append(_shown(cells[modality][row - first]))
            row = next(wanted, None)
        first = stop
    return found


def _shown(cell: str | bytes | None) -> str:
    return "" if cell is None else cell[:200] if isinstance(cell, str) else f"{len(cell):,} bytes"


def how_much_was_cut(decoded: Decoded) -> tuple[str, ...]:
    """A note of `CUT_BY`; none where nothing was cut, or it is not known."""
    if not isinstance(decoded, Shortened):
        return ()
    lost = max(0, decoded.whole - (decoded.length or 0))
    return (CUT_BY[min(len(CUT_BY) * lost // decoded.whole, len(CUT_BY) - 1)],)


# In a worker --------------------------------------------------------------------------------------


@cache
def modality_of(settings: ModalitySettings) -> Modality:
    """Made once in each process."""
    return settings.make()


class Decoding:
    """
    A shard's blocks, decoded ahead of whoever takes them; and what was found on the way.

    A sample's CPU seconds are limited where it is decoded in a process of its worker's own.
    """

    def __init__(self, task: ShardTask, timings: Timings, *, in_processes: bool) -> None:
        self._in_processes = in_processes
        self.plugin = modality_of(task.job.modality)
        self._task, self._timings = task, timings
        self._source = SampleBytes(task, self.plugin)
        self._poison = dict(task.poison)
        self._spec = self.plugin.array()
        self._row_bytes = int(np.dtype(self._spec.dtype).itemsize * np.prod(self._spec.shape))
        num_rows = task.stop - task.first
        self.digests = np.zeros((num_rows, 16), np.uint8)
        self.lengths = np.zeros(num_rows, np.int32)
        self._invalid: dict[int, str] = {}
        self._absent: list[int] = []
        self._notes: list[str] = []

    @property
    def row_bytes(self) -> int:
        return self._row_bytes

    def ahead(self, rows_at_once: int, *, threads: int, most_bytes: int) -> ReadAhead[Block]:
        """The shard in blocks of so many rows; `threads` read, and as many decode."""
        num_rows = self._task.stop - self._task.first
        return ReadAhead(
            self,
            [
                range(start, min(start + rows_at_once, num_rows))
                for start in range(0, num_rows, rows_at_once)
            ],
            readers=threads,
            fillers=threads,
            block_bytes=max(most_bytes, 2 * rows_at_once * self._row_bytes),
            read_bytes=most_bytes,
            timings=self._timings,
        )

    def settle(self, block: Block) -> None:
        """Decode in this thread what there was no memory for; the verdicts are then final."""
        if block.postponed:
            last = _Decoder(self, final=True)
            for i in block.postponed:
                last.fill(block, range(i, i + 1), [self._read(i)])
            block.postponed.clear()
            last.close()

    def end(self) -> None:
        """All rows were decoded: `StorageError` where that was while storage was away."""
        self._source.refuse_bad_storage()

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        return {"digest": self.digests, "length": self.lengths}

    @property
    def invalid(self) -> Mapping[int, str]:
        return self._invalid

    @property
    def absent(self) -> list[int]:
        """Rows that have no value, because their cells are empty: not valid, and no fault."""
        return sorted(self._absent)

    @property
    def notes(self) -> dict[str, int]:
        return dict(sorted(Counter(self._notes).items()))

    @property
    def content(self) -> str:
        """One digest over all rows' source bytes."""
        return digest_lines([self.digests.tobytes().hex()])

    # As `ReadAhead` asks --------------------------------------------------------------------------

    def size(self, rows: range) -> int:
        return len(rows) * self._row_bytes

    def begin(self, rows: range) -> Block:
        return Block(
            rows=rows,
            data=np.zeros((len(rows), *self._spec.shape), self._spec.dtype),
            valid=np.zeros(len(rows), np.bool_),
            length=self.lengths[rows.start : rows.stop] if self.plugin.has_length else None,
        )

    def read(self, rows: range) -> tuple[list[Found], int]:
        with self._timings.at("read"):
            found = [self._read(i) for i in rows]
        return found, sum(len(item.data) for item in found if isinstance(item, Content))

    def _read(self, i: int) -> Found:
        try:
            return self._source.read(i)
        except (InvalidSample, MemoryError) as verdict:
            return verdict

    def filler(self) -> "_Decoder":
        return _Decoder(self, final=False)


class _Decoder:
    """What one thread has to decode with."""

    def __init__(self, shard: Decoding, *, final: bool) -> None:
        self._shard, self._final = shard, final
        self._limit = ThreadLimit("processes" if shard._in_processes else "threads")

    def fill(self, block: Block, rows: range, found: Sequence[Found]) -> None:
        with self._shard._timings.at("decode"), self._limit:
            for i, item in zip(rows, found, strict=True):
                self._fill(block, i, item)

    def _fill(self, block: Block, i: int, found: Found) -> None:
        shard, at = self._shard, i - block.rows.start
        row = shard._task.first + i
        if found is None:
            shard._absent.append(row)
            return
        try:
            if isinstance(found, Exception):
                raise found
            shard.digests[i] = np.frombuffer(content_hash(found.data), np.uint8)
            if row in shard._poison:
                raise InvalidSample(shard._poison[row])
            self._limit.restart()
            decoded = shard.plugin.decode(found.data, block.data[at])
        except Exception as fault:
            block.data[at] = 0
            if is_out_of_memory(fault) and not self._final:
                block.postponed.append(i)
            elif isinstance(fault, InvalidSample):
                shard._invalid[row] = str(fault)
            else:
                raise
            return
        shard.lengths[i] = decoded.length or 0
        shard._notes.extend((*decoded.notes, *how_much_was_cut(decoded)))
        shard._notes.extend(found.notes)
        block.valid[at] = True

    def close(self) -> None:
        self._limit.close()
