"""Commit a stage, and read what was committed."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.errors import StorageError
from sampan.store.durable import read_json, write_json
from sampan.store.layout import GROUP_METADATA, Layout
from sampan.store.ledger import Listing, Record
from sampan.store.partition import shards_digest
from sampan.store.read import Reader
from sampan.store.variant import Variant, damage

FORMAT = 1
IN_DATASET = (
    *("part", "first", "rows", "valid", "keys", "digest"),
    *("reasons", "notes", "valid_files"),
)


def commit(
    variant: Variant, receipts: list[Path], header: dict[str, Any], outbox: Path | None = None
) -> dict[str, Any]:
    """
    Make a stage visible: check its shards' sizes, write `zarr.json`s, then `dataset.json`.

    `receipts` are those of all partitions in order. Every recorded shard of every receipt must be
    there with its size, and the records must add up to the receipt's digest; else `StorageError`,
    and readers go on seeing what was committed before.
    """
    layout = Layout.from_json(read_json(variant.layout))
    listing = Listing(variant.ledger)
    parts: list[dict[str, Any]] = []
    faults: list[str] = []
    rows = total = 0
    for path in receipts:
        receipt = read_json(path)
        if receipt["rows"] and receipt["first"] != rows:
            faults.append(f"{path}: begins at row {receipt['first']:,}; expected: row {rows:,}")
        rows += receipt["rows"]
        records, wrong = chosen(variant, layout, receipt, listing)
        faults += wrong
        parts.append({name: receipt[name] for name in IN_DATASET})
        files = [file for record in records for file in record.files.values()]
        total += sum(file["bytes"] for file in (*files, *receipt["valid_files"].values()))
    if faults:
        raise StorageError(faults)
    value = header | {
        "format": FORMAT,
        "rows": rows,
        "valid": sum(part["valid"] for part in parts),
        "bytes": total,
        "reasons": _sum(part.pop("reasons") for part in parts),
        "notes": _sum(part.pop("notes") for part in parts),
        "parts": parts,
        "layout": layout.as_json(),
    }
    write_json(variant.data / "zarr.json", GROUP_METADATA, outbox)
    for name in layout.arrays:
        write_json(variant.data / name / "zarr.json", layout.metadata(name, rows), outbox)
    write_json(variant.dataset, value, outbox)
    return value


def chosen(
    variant: Variant, layout: Layout, receipt: dict[str, Any], listing: Listing | None = None
) -> tuple[list[Record], list[str]]:
    """
    The records that a receipt stands for, and what is wrong with them or their files' sizes.

    Whoever asks for many partitions lists the ledger once.
    """
    first, rows = receipt["first"], receipt["rows"]
    found = (listing or Listing(variant.ledger)).records(first, first + rows)
    records: list[Record] = []
    faults: list[str] = []
    for shard in layout.shards(first, rows):
        if shard not in found:
            faults.append(f"{variant.path}: shard {shard} has no record in the ledger")
            continue
        faults += damage(variant, layout, found[shard][-1])
        records.append(found[shard][-1])
    if not faults and shards_digest(records) != receipt["digest"]:
        faults.append(
            f"{variant.path}: the ledger does not add up to the receipt of part {receipt['part']}"
        )
    for shard_text, file in receipt["valid_files"].items():
        path = variant.shard(layout, "valid", int(shard_text))
        if not path.exists() or path.stat().st_size != file["bytes"]:
            faults.append(f"{path}: is missing or has another size than recorded")
    return records, faults


def _sum(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for item in counts:
        total.update(item)
    return dict(total)


@dataclass(frozen=True)
class Committed:
    """A committed stage: what `dataset.json` lists, and nothing beyond it."""

    variant: Variant

    @cached_property
    def about(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.variant.dataset)
        if found.get("format") != FORMAT:
            raise StorageError(
                f"{self.variant.dataset}: format {found.get('format')}; this sampan reads {FORMAT}"
            )
        return found

    @property
    def rows(self) -> int:
        return int(self.about["rows"])

    @cached_property
    def layout(self) -> Layout:
        return Layout.from_json(self.about["layout"])

    def reader(self, array: str | None = None) -> Reader:
        """The main array's reader, or that of another array of the stage."""
        name = array or self.layout.main
        return Reader(self.variant.data / name, self.layout.arrays[name])

    def valid(self) -> NDArray[np.bool_]:
        """(sample) bool, all rows."""
        if self.rows == 0:
            return np.zeros(0, bool)
        return self.reader("valid").rows(0, self.rows)
