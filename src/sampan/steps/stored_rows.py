"""An encoder's input as the modality stored it: blocks of rows, read ahead of the encoder."""

from pathlib import Path

import numpy as np

from sampan import memory
from sampan.steps.ahead import Ahead
from sampan.steps.decoding import Block
from sampan.steps.flags import variant_of
from sampan.steps.shards import ShardTask
from sampan.steps.timings import Timings
from sampan.store.layout import Layout
from sampan.store.read import Reader

PAGE_BYTES = 4096


class Stored:
    """
    A shard's rows as the modality stored them: views of its shards' memory maps. Their pages count
    as memory of this process, and are given back once the encoder has had them.
    """

    def __init__(self, task: ShardTask, timings: Timings) -> None:
        source = variant_of(Path(task.results), task.spec["above"])
        layout = Layout.read(source.layout)
        self._task, self._timings = task, timings
        self._readers = {
            array: Reader(source.data / name, layout.arrays[name])
            for array, name in (("data", layout.main), ("valid", "valid"), ("length", "length"))
            if name in layout.arrays
        }
        self._rows_held = 0
        self.row_bytes = layout.arrays[layout.main].row_bytes

    def ahead(self, rows_at_once: int, most_bytes: int) -> Ahead[Block]:
        """The shard in blocks of so many rows, brought into memory by one thread."""
        num_rows = self._task.stop - self._task.first
        held = max(most_bytes // max(1, rows_at_once * self.row_bytes), memory.BLOCKS)
        self._rows_held = (held + 1) * rows_at_once
        return Ahead(
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

    # As `Ahead` asks --------------------------------------------------------------------------

    def size(self, rows: range) -> int:
        return len(rows) * self.row_bytes

    def begin(self, rows: range) -> Block:
        start = self._task.first + rows.start - self._rows_held
        self._readers["data"].let_go(max(start - len(rows), self._task.first), start)
        with self._timings.at("read"):
            return self.block(rows)

    def read(self, rows: range) -> tuple[None, int]:
        return None, 0

    def filler(self) -> "Stored":
        return self

    def fill(self, block: Block, rows: range, found: None) -> None:
        """Touch every page, so that storage is waited for here."""
        with self._timings.at("read"):
            piece = block.data[rows.start - block.rows.start : rows.stop - block.rows.start]
            piece.reshape(-1).view(np.uint8)[::PAGE_BYTES].max(initial=0)

    def close(self) -> None:
        pass
