"""An encoder's input as the modality stored it: blocks of rows, read ahead of the encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.execution.read_ahead import ReadAhead
from sampan.execution.shard_job import Block, ShardTask
from sampan.execution.timings import Timings
from sampan.plan import Stage, memory
from sampan.store.layout import Layout
from sampan.store.read import Reader
from sampan.store.variant import Variant

PAGE_BYTES = 4096


class StoredRows:
    """
    A shard's rows as the modality stored them: views of its shards' memory maps. Their pages count
    as memory of this process, and are given back once the encoder has had them.
    """

    def __init__(self, task: ShardTask, above: Stage, timings: Timings, *, not_valid: str) -> None:
        source = Variant.of(task.results, above)
        layout = Layout.read(source.layout)
        self._task, self._timings, self._not_valid = task, timings, not_valid
        self._poison, self._empty = dict(task.poison), frozenset(task.absent)
        self._invalid: dict[int, str] = {}
        self._readers = {
            array: Reader(source.data / name, layout.arrays[name])
            for array, name in (("data", layout.main), ("valid", "valid"), ("length", "length"))
            if name in layout.arrays
        }
        self._rows_held = 0
        self.row_bytes = layout.arrays[layout.main].row_bytes

    def ahead(self, rows_at_once: int, *, threads: int, most_bytes: int) -> ReadAhead[Block]:
        """The shard in blocks of so many rows; one thread brings them into memory."""
        num_rows = self._task.stop - self._task.first
        held = max(most_bytes // max(1, rows_at_once * self.row_bytes), memory.BLOCKS)
        self._rows_held = (held + 1) * rows_at_once
        return ReadAhead(
            self,
            [
                range(start, min(start + rows_at_once, num_rows))
                for start in range(0, num_rows, rows_at_once)
            ],
            readers=0,
            fillers=1,
            block_bytes=max(most_bytes, 2 * rows_at_once * self.row_bytes),
            read_bytes=0,
            timings=self._timings,
        )

    def block(self, rows: range) -> Block:
        start, stop = self._task.first + rows.start, self._task.first + rows.stop
        found = {name: reader.rows(start, stop) for name, reader in self._readers.items()}
        return Block(rows, found["data"], found["valid"].copy(), found.get("length"))

    def settle(self, block: Block) -> None:
        """Note which rows were there and not valid, and those that are not to be touched."""
        first = self._task.first + block.rows.start
        for i in np.flatnonzero(~block.valid).tolist():
            if first + i not in self._empty:
                self._invalid[first + i] = self._not_valid
        for row, reason in self._poison.items():
            if first <= row < first + len(block.rows):
                block.valid[row - first] = False
                self._invalid[row] = reason

    def end(self) -> None:
        pass

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        return {}

    @property
    def invalid(self) -> Mapping[int, str]:
        return self._invalid

    @property
    def absent(self) -> Sequence[int]:
        return self._task.absent

    @property
    def notes(self) -> Mapping[str, int]:
        return {}

    @property
    def content(self) -> str:
        return ""

    # As `ReadAhead` asks --------------------------------------------------------------------------

    def size(self, rows: range) -> int:
        return len(rows) * self.row_bytes

    def begin(self, rows: range) -> Block:
        start = self._task.first + rows.start - self._rows_held
        self._readers["data"].let_go(max(start - len(rows), self._task.first), start)
        with self._timings.at("read"):
            return self.block(rows)

    def read(self, rows: range) -> tuple[None, int]:
        return None, 0

    def filler(self) -> "StoredRows":
        return self

    def fill(self, block: Block, rows: range, found: None) -> None:
        """Touch every page, so that storage is waited for here."""
        with self._timings.at("read"):
            piece = block.data[rows.start - block.rows.start : rows.stop - block.rows.start]
            piece.reshape(-1).view(np.uint8)[::PAGE_BYTES].max(initial=0)

    def close(self) -> None:
        pass
