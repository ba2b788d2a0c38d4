"""
One partition of a stage: which shards are done, which are to do, and its receipt at the end.

Position is identity: row i of the index is row i here. `valid` and the quarantine are built from
the ledger's records, so that a restarted job needs nothing but the records.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sampan.storage.durable import write_bytes, write_json
from sampan.storage.outbox import discard
from sampan.store import ledger
from sampan.store.identity import digest_lines
from sampan.store.layout import Layout
from sampan.store.ledger import Attempt, Record
from sampan.store.shard import ShardWriter
from sampan.store.variant import Variant, current, publish, temporary_shard

REASONS_IN_A_RECEIPT = 20


@dataclass
class Partition:
    """Rows [first, first + rows) of a stage; `keys` is the digest of their keys in the index."""

    variant: Variant
    layout: Layout
    part: int
    first: int
    rows: int
    keys: str
    outbox: Path
    """What this attempt publishes comes out of here."""
    done: dict[int, Record] = field(default_factory=dict)
    superseded: list[int] = field(default_factory=list)
    """Shards to do that hold what was made from other rows or bytes."""

    @property
    def shards(self) -> range:
        return self.layout.shards(self.first, self.rows)

    def rows_of(self, shard: int) -> range:
        """The rows of a shard that this partition has."""
        start = shard * self.layout.rows_per_shard
        return range(start, min(start + self.layout.rows_per_shard, self.first + self.rows))

    def adopt(self, keys: Mapping[int, str]) -> list[int]:
        """Take over every shard whose record and key hold; return those that are to do."""
        found = ledger.records(self.variant.ledger, self.first, self.first + self.rows)
        for shard in self.shards:
            records = found.get(shard, [])
            record = current(self.variant, self.layout, records, keys[shard])
            if record is not None:
                self.done[shard] = record
            elif any(record.key != keys[shard] for record in records):
                self.superseded.append(shard)
        return [shard for shard in self.shards if shard not in self.done]

    def attempt(self) -> Attempt:
        """
        The ledger of a new attempt.

        Records of shards that are about to be written over are withdrawn first: after a kill, or
        back at the earlier settings of a source, they would vouch for bytes that are no longer
        there.
        """
        rows = (self.first, self.first + self.rows)
        attempt = Attempt(self.variant.ledger, *rows, self.outbox)
        attempt.withdraw(self.superseded)
        return attempt

    @property
    def invalid(self) -> list[tuple[int, str]]:
        return [item for shard in self.shards for item in self.done[shard].invalid]

    @property
    def absent(self) -> list[int]:
        return [row for shard in self.shards for row in self.done[shard].absent]

    def finish(self, quarantined: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """
        Write `valid` and the quarantine; return the receipt, which the caller writes last.

        `quarantined` has columns for the rows of `invalid`, in the same order, beside row and
        reason.
        """
        invalid, absent = self.invalid, self.absent
        receipt = {
            "settings": self.layout.settings,
            "part": self.part,
            "first": self.first,
            "rows": self.rows,
            "valid": self.rows - len(invalid) - len(absent),
            **({"absent": len(absent)} if absent else {}),
            "reasons": counted(reason for _, reason in invalid),
            "notes": summed(self.done[shard].notes for shard in self.shards),
            "keys": self.keys,
            "digest": shards_digest([self.done[shard] for shard in self.shards]),
            "valid_files": self._write_valid([*(row for row, _ in invalid), *absent]),
        }
        self._write_quarantine(invalid, quarantined)
        return receipt

    def _write_valid(self, without: list[int]) -> dict[str, dict[str, Any]]:
        layout = self.layout.arrays["valid"]
        valid = np.ones(self.rows, bool)
        valid[[row - self.first for row in without]] = False
        files = {}
        for start in range(0, self.rows, layout.rows_per_shard):
            shard = (self.first + start) // layout.rows_per_shard
            temporary = temporary_shard(self.outbox, "valid", shard)
            with ShardWriter(temporary, layout) as writer:
                writer.write(valid[start : start + layout.rows_per_shard])
                files[str(shard)] = writer.close()._asdict()
            publish(self.variant, self.layout, shard, {"valid": temporary})
        return files

    def _write_quarantine(
        self, invalid: list[tuple[int, str]], columns: Mapping[str, Sequence[Any]]
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.variant.quarantine(self.part)
        if not invalid:
            discard(path, self.outbox)
            return
        table = pa.table(
            {
                "row": pa.array([row for row, _ in invalid], pa.int64()),
                "reason": pa.array([reason for _, reason in invalid], pa.string()),
                **{name: list(values) for name, values in columns.items()},
            }
        )
        content = pa.BufferOutputStream()
        pq.write_table(table, content)
        write_bytes(path, content.getvalue().to_pybytes(), self.outbox)

    def write_receipt(self, path: Path, receipt: dict[str, Any]) -> None:
        write_json(path, receipt, self.outbox)


def shards_digest(records: Sequence[Record]) -> str:
    """One digest over the identities of a partition's shards."""
    return digest_lines(record.identity for record in records)


def category(reason: str) -> str:
    """What a reason is counted under: the text before its detail."""
    return reason.partition(": ")[0]


def counted(reasons: Any) -> dict[str, int]:
    counts = Counter(category(reason) for reason in reasons)
    kept = dict(counts.most_common(REASONS_IN_A_RECEIPT))
    if others := counts.total() - sum(kept.values()):
        kept["other reasons"] = others
    return kept


def summed(notes: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counts in notes:
        total.update(counts)
    return dict(total)
