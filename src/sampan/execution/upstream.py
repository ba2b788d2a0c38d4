"""What the rows of a stage are made of: samples' sources, or the arrays of the stage above."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sampan.errors import InvalidSample, StorageError
from sampan.execution.decoding import Decoding, modality_of, quarantined, shard_key
from sampan.execution.sample_bytes import SampleBytes
from sampan.execution.shard_job import Block, ShardInputs, ShardTask
from sampan.execution.stored_rows import StoredRows
from sampan.execution.timings import Timings
from sampan.index.parts import IndexFolder, IndexPart
from sampan.plan import Stage
from sampan.plan.jobs import ShardsJob
from sampan.storage.durable import read_json
from sampan.store import ledger
from sampan.store.committed import chosen
from sampan.store.documents import CellsReceipt, PartRows, Receipt
from sampan.store.identity import digest_lines
from sampan.store.layout import Layout
from sampan.store.partition import Partition
from sampan.store.variant import Variant


@dataclass(frozen=True)
class Sources:
    """Samples that are decoded from their sources here; `workers` are those that decode."""

    job: ShardsJob
    in_processes: bool
    """Whether a sample's decoder may end its process, so that its CPU seconds are limited."""

    def _index(self, results: Path) -> IndexFolder:
        return IndexFolder(results / self.job.stage.dataset / "index")

    def receipt(self, results: Path, part: int) -> PartRows:
        path = self._index(results).receipt(self.job.stage.modality, part)
        found: PartRows = read_json(path, CellsReceipt)
        return found

    def inputs(self, results: Path, partition: Partition) -> ShardInputs:
        table = IndexPart(self._index(results).part(partition.part))
        return ShardInputs(
            {
                shard: shard_key(self.job, table, partition.rows_of(shard))
                for shard in partition.shards
            }
        )

    def own_faults(self, invalid: Sequence[tuple[int, str]]) -> Sequence[tuple[int, str]]:
        return invalid

    def quarantined(
        self, results: Path, partition: Partition, rows: Sequence[int]
    ) -> dict[str, list[Any]]:
        return quarantined(self._index(results).part(partition.part), self.job.stage.modality, rows)

    def open(self, task: ShardTask, timings: Timings) -> Decoding:
        return Decoding(task, timings, in_processes=self.in_processes)

    def blocks(self, task: ShardTask) -> Iterator[tuple[int, Callable[[], Block | None]]]:
        plugin = modality_of(self.job.modality)
        source = SampleBytes(task, plugin)
        spec = plugin.array()
        for i in range(task.stop - task.first):
            try:
                found = source.read(i)
            except InvalidSample:
                continue
            if found is None:
                continue

            def decoded(data: bytes = found.data) -> Block | None:
                out = np.zeros((1, *spec.shape), spec.dtype)
                try:
                    length = plugin.decode(data, out[0]).length
                except InvalidSample:
                    return None
                lengths = np.array([length or 0], np.int32) if plugin.has_length else None
                return Block(range(1), out, np.ones(1, bool), lengths)

            yield task.first + i, decoded


@dataclass(frozen=True)
class StageAbove:
    """Rows that another stage has stored."""

    job: ShardsJob
    above: Stage

    @property
    def _not_valid(self) -> str:
        return f"{self.above.name} is not valid"

    def receipt(self, results: Path, part: int) -> PartRows:
        found: PartRows = read_json(Variant.of(results, self.above).receipt(part), Receipt)
        return found

    def inputs(self, results: Path, partition: Partition) -> ShardInputs:
        source = Variant.of(results, self.above)
        layout = Layout.read(source.layout)
        receipt = read_json(source.receipt(partition.part), Receipt)
        first, stop = receipt["first"], receipt["first"] + receipt["rows"]
        found = ledger.records(source.ledger, first, stop)
        records, faults = chosen(source, layout, receipt, found)
        if faults:
            raise StorageError([*faults, "run: sampan verify --repair"])
        by_shard = {record.shard: record for record in records}
        size = layout.rows_per_shard
        keys = {}
        for shard in partition.shards:
            rows = partition.rows_of(shard)
            above = range(rows.start // size, -(-rows.stop // size))
            identities = [by_shard[number].identity for number in above]
            keys[shard] = digest_lines(
                [self.job.stage.digest, str(rows.start), str(len(rows)), *identities]
            )
        return ShardInputs(keys, sorted(row for record in records for row in record.absent))

    def own_faults(self, invalid: Sequence[tuple[int, str]]) -> Sequence[tuple[int, str]]:
        return [item for item in invalid if item[1] != self._not_valid]

    def quarantined(
        self, results: Path, partition: Partition, rows: Sequence[int]
    ) -> dict[str, list[Any]]:
        return {}

    def open(self, task: ShardTask, timings: Timings) -> StoredRows:
        return StoredRows(task, self.above, timings, not_valid=self._not_valid)

    def blocks(self, task: ShardTask) -> Iterator[tuple[int, Callable[[], Block | None]]]:
        stored = self.open(task, Timings())
        for i in range(task.stop - task.first):
            block = stored.block(range(i, i + 1))
            if block.valid[0]:
                yield task.first + i, lambda block=block: block  # type: ignore[misc] # its default


def within(rows: Sequence[int], wanted: range) -> tuple[int, ...]:
    """Those of ascending `rows` that are in a range."""
    return tuple(rows[bisect_left(rows, wanted.start) : bisect_left(rows, wanted.stop)])
