"""
Rows of one shard, from the index through the source to decoded arrays.

What `preprocess` stores and what `extract` decodes straight into an encoder comes from here alike:
the same bytes, verdicts, quarantine and digests.
"""

import errno
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sampan import plan, plugins
from sampan.errors import InvalidSample, StorageError
from sampan.plugins import ArraySpec, Decoded, Modality, Shortened
from sampan.sources.cells import CellReader
from sampan.sources.files import Content, DeniedFile, MissingFile, SampleFiles, missing_folders
from sampan.steps.ahead import Ahead
from sampan.steps.flags import stage_of
from sampan.steps.index import cell_line
from sampan.steps.limits import ThreadLimit
from sampan.steps.out_of_memory import is_out_of_memory
from sampan.steps.shards import ShardTask
from sampan.steps.timings import Timings
from sampan.store.identity import content_hash, digest_lines
from sampan.store.index import IndexFolder, IndexPart

DIGEST = ArraySpec(("byte",), (16,), "uint8")
MISSING_SHARE = 0.5

CUT_BY = tuple(f"cut by {percent} to {percent + 10} %" for percent in range(0, 100, 10))
"""Notes beside "cut": how much of the sample the row has no room for, in tenths."""

Found = Content | InvalidSample | MemoryError | None
"""Of one sample's source: its content, or why there is none; None where its cell is empty."""


def shard_key(spec: dict[str, Any], modality: str, table: IndexPart, rows: range) -> str:
    """What a shard is made of that is decoded from the source: the settings, and its cells."""
    lines = (
        cell_line(table.versions[root], cell, reason)
        for batch in table.batches(["root", modality, "reason"], rows)
        for root, cell, reason in zip(*batch.values(), strict=True)
    )
    return digest_lines(chain([spec["stage"]["digest"], str(rows.start)], lines))


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


def modality_of(spec: dict[str, Any]) -> str:
    """The modality that a stage is made from: `image`, of `image` as of `image.hog`."""
    return stage_of(spec["stage"]).name.partition(".")[0]


# In a worker --------------------------------------------------------------------------------------


@cache
def plugin_of(settings: str) -> Modality:
    import json

    found: Modality = plugins.make("modalities", json.loads(settings), "modality")
    return found


@dataclass
class Block:
    """Rows of a shard, which are numbered from 0: `data` (row, …), zeros where not `valid`."""

    rows: range
    data: NDArray[Any]
    valid: NDArray[np.bool_]
    length: NDArray[np.int32] | None
    again: list[int] = field(default_factory=list)
    """Rows of the shard for which there was no memory while a batch was encoded."""


class Source:
    """The source bytes of a shard's samples; several threads may ask for different ones."""

    def __init__(self, task: ShardTask, plugin: Modality) -> None:
        self.task = task
        modality = modality_of(task.spec)
        dataset = stage_of(task.spec["stage"]).dataset
        table = IndexPart(IndexFolder(Path(task.results) / dataset / "index").part(task.part))
        rows = range(task.first, task.stop)
        self.cells = table.read(["root", "reason"], rows)
        self.column = table.column(modality, rows)
        self.files = SampleFiles(table.roots, plugin.max_bytes, task.patience_seconds, table.allow)
        self._reader = CellReader(self.files, task.spec["cell"] or plugin.cell)
        self.missing: list[str] = []
        self.denied: list[str] = []

    def read(self, i: int) -> Content | None:
        """
        The content of the shard's i-th sample, None where its cell is empty; `InvalidSample` where
        it cannot be had.
        """
        if reason := self.cells["reason"][i]:
            raise InvalidSample(reason)
        try:
            return self._reader.read(self.cells["root"][i], self.column[i])
        except MissingFile as verdict:
            self.missing.append(verdict.path)
            raise
        except DeniedFile as verdict:
            self.denied.append(verdict.path)
            raise

    def refuse_bad_storage(self) -> None:
        """
        Files that could not be had because storage was away do not count as bad data.

        It was where one of them is back by now, where one that could be read is gone, where most
        are missing together with their folders, and where most may not be read.
        """
        if not self.missing and not self.denied:
            return
        many = max(MISSING_SHARE, self.task.spec["max_invalid"]) * len(self.column)
        if len(self.missing) > many and missing_folders(self.missing):
            raise StorageError(
                f"{len(self.missing):,} of {len(self.column):,} files of a shard are missing, "
                f"and their folders too, such as {self.missing[0]}; is the source mounted?"
            ) from OSError(errno.ENODEV, "folders are missing")
        if len(self.denied) > many:
            raise StorageError(
                f"{len(self.denied):,} of {len(self.column):,} files of a shard may not be read, "
                f"such as {self.denied[0]}; has this job's user the right to read them?"
            ) from OSError(errno.EACCES, "files may not be read")
        moved = [path for path in self.missing if os.path.exists(path)]
        moved += [path for path in self.denied if os.access(path, os.R_OK)]
        moved += [path for path in self.files.witnesses.values() if not os.path.exists(path)]
        if moved:
            raise StorageError(
                f"files come and go while they are read, such as {moved[0]}; is the source mounted?"
            ) from OSError(errno.ENODEV, "files come and go")


class Decoding:
    """
    A shard's blocks, decoded ahead of whoever takes them; and what was found on the way.

    A sample's CPU seconds are limited unless it is decoded in a process of others (`threads`).
    """

    def __init__(
        self, task: ShardTask, timings: Timings, workers: Literal["threads", "processes"]
    ) -> None:
        self._workers: Literal["threads", "processes"] = workers
        self.plugin = plugin_of(plan.canonical(task.spec["modality"]))
        self._task, self._timings = task, timings
        self._source = Source(task, self.plugin)
        self._poison = task.poison_dict()
        self._spec = self.plugin.array()
        self._row_bytes = int(np.dtype(self._spec.dtype).itemsize * np.prod(self._spec.shape))
        num_rows = task.stop - task.first
        self.digests = np.zeros((num_rows, 16), np.uint8)
        self.lengths = np.zeros(num_rows, np.int32)
        self._invalid: list[tuple[int, str]] = []
        self._absent: list[int] = []
        self._notes: list[str] = []

    @property
    def row_bytes(self) -> int:
        return self._row_bytes

    def ahead(self, rows_at_once: int, *, threads: int, most_bytes: int) -> Ahead[Block]:
        """The shard in blocks of so many rows; `threads` read, and as many decode."""
        num_rows = self._task.stop - self._task.first
        return Ahead(
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

    def finish(self, block: Block) -> Block:
        """Decode in this thread what there was no memory for; the verdicts are then final."""
        if block.again:
            again = _Decoder(self, final=True)
            for i in block.again:
                again.fill(block, range(i, i + 1), [self._read(i)])
            block.again.clear()
            again.close()
        return block

    def end(self) -> None:
        """All rows were decoded: `StorageError` where that was while storage was away."""
        self._source.refuse_bad_storage()

    @property
    def invalid(self) -> list[tuple[int, str]]:
        return sorted(self._invalid)

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

    # As `Ahead` asks --------------------------------------------------------------------------

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
        self._limit = ThreadLimit(shard._workers)

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
                block.again.append(i)
            elif isinstance(fault, InvalidSample):
                shard._invalid.append((row, str(fault)))
            else:
                raise
            return
        shard.lengths[i] = decoded.length or 0
        shard._notes.extend((*decoded.notes, *how_much_was_cut(decoded)))
        shard._notes.extend(found.notes)
        block.valid[at] = True

    def close(self) -> None:
        self._limit.close()
