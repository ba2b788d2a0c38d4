"""Commit a stage, and read what was committed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.errors import StorageError
from sampan.storage.durable import read_json, with_checksum, write_json
from sampan.storage.parquet import read_table
from sampan.store.documents import PartOfStage, Receipt, StageDataset, fault_of_parts
from sampan.store.layout import GROUP_METADATA, Layout
from sampan.store.ledger import Listing, Record
from sampan.store.partition import shards_digest
from sampan.store.read import Reader
from sampan.store.variant import Variant, damage

FORMAT = 1
FAULTS_NAMED = 20
"""Of a partition's shards; after a disaster there may be thousands."""
IN_DATASET = (*("part", "first", "rows", "valid", "keys", "digest", "valid_files"),)


def commit(
    variant: Variant, receipts: list[Path], header: dict[str, Any], outbox: Path | None = None
) -> dict[str, Any]:
    """
    Make a stage visible: check its shards' sizes, write `zarr.json`s, then `dataset.json`.

    `receipts` are those of all partitions in order. Every recorded shard of every receipt must be
    there with its size, and the records must add up to the receipt's digest; else `StorageError`,
    and readers go on seeing what was committed before.
    """
    layout = Layout.read(variant.layout)
    listing = Listing(variant.ledger)
    parts: list[Receipt] = []
    faults: list[str] = []
    rows = total = 0
    for path in receipts:
        receipt = read_json(path, Receipt)
        if receipt["rows"] and receipt["first"] != rows:
            faults.append(f"{path}: begins at row {receipt['first']:,}; expected: row {rows:,}")
        rows += receipt["rows"]
        found = listing.records(receipt["first"], receipt["first"] + receipt["rows"])
        records, wrong = chosen(variant, layout, receipt, found)
        faults += wrong
        parts.append(receipt)
        total += bytes_of(receipt, records)
    if faults:
        raise StorageError(faults)
    value = with_checksum(header | described(layout, parts, total))
    for path, metadata in zarr_metadata(variant, layout, rows).items():
        write_json(path, metadata, outbox)
    write_json(variant.dataset, value, outbox)
    return value


def bytes_of(receipt: PartOfStage, records: Iterable[Record]) -> int:
    """Size of a partition's files."""
    files = [file for record in records for file in record.files.values()]
    return sum(file["bytes"] for file in (*files, *receipt["valid_files"].values()))


def described(layout: Layout, receipts: Sequence[Receipt], total: int) -> dict[str, Any]:
    """What `dataset.json` says of a stage with these receipts and so many bytes, but its header."""
    return {
        "format": FORMAT,
        "rows": sum(receipt["rows"] for receipt in receipts),
        "valid": sum(receipt["valid"] for receipt in receipts),
        "absent": sum(receipt.get("absent", 0) for receipt in receipts),
        "bytes": total,
        "reasons": _sum(receipt["reasons"] for receipt in receipts),
        "notes": _sum(receipt["notes"] for receipt in receipts),
        "parts": [part_of(receipt) for receipt in receipts],
        "layout": layout.as_json(),
    }


def part_of(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """What `dataset.json` keeps of a receipt."""
    about = {name: receipt[name] for name in IN_DATASET}
    return about | ({"absent": receipt["absent"]} if receipt.get("absent") else {})


def zarr_metadata(variant: Variant, layout: Layout, rows: int) -> dict[Path, dict[str, Any]]:
    """What other Zarr readers need: each `zarr.json` with its content."""
    found: dict[Path, dict[str, Any]] = {variant.data / "zarr.json": GROUP_METADATA}
    for name in layout.arrays:
        found[variant.data / name / "zarr.json"] = layout.metadata(name, rows)
    return found


def chosen(
    variant: Variant, layout: Layout, receipt: PartOfStage, found: Mapping[int, list[Record]]
) -> tuple[list[Record], list[str]]:
    """
    The records that a receipt stands for, of those `found` of its rows, and what is wrong with them
    or with their files' sizes.
    """
    records: list[Record] = []
    faults: list[str] = []
    for shard in layout.shards(receipt["first"], receipt["rows"]):
        if len(faults) == FAULTS_NAMED:
            break
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
    def about(self) -> StageDataset:
        path = self.variant.dataset
        form: dict[str, Any] = read_json(path, dict[str, Any])
        if type(form.get("format")) is int and form["format"] != FORMAT:
            raise StorageError(f"{path}: format {form['format']}; this sampan reads {FORMAT}")
        found: StageDataset = read_json(path, StageDataset)
        if wrong := fault_of_parts(found["rows"], found["parts"]):
            raise StorageError(f"{path}: is damaged: {wrong}")
        return found

    @property
    def rows(self) -> int:
        return int(self.about["rows"])

    @cached_property
    def layout(self) -> Layout:
        try:
            return Layout.from_json(self.about["layout"])
        except StorageError as fault:
            raise StorageError(f"{self.variant.dataset}: {fault.faults[0]}") from None

    def reader(self, array: str | None = None) -> Reader:
        """The main array's reader, or that of another array of the stage."""
        name = array or self.layout.main
        return Reader(self.variant.data / name, self.layout.arrays[name])

    def valid(self) -> NDArray[np.bool_]:
        """(sample) bool, all rows."""
        if self.rows == 0:
            return np.zeros(0, bool)
        return self.reader("valid").rows(0, self.rows)

    def absent(self) -> NDArray[np.bool_]:
        """(sample) bool: rows without a value, which are not valid and not in the quarantine."""
        out = np.zeros(self.rows, bool)
        for part in self.about["parts"]:
            if part.get("absent"):
                first, stop = part["first"], part["first"] + part["rows"]
                out[first:stop] = ~self.reader("valid").rows(first, stop)
                out[self._quarantined(part["part"])] = False
        return out

    def _quarantined(self, part: int) -> NDArray[np.int64]:
        """Rows of a partition's quarantine; `StorageError` where it cannot be read."""
        path = self.variant.quarantine(part)
        if not path.exists():
            return np.zeros(0, np.int64)
        table = read_table(path, {"row": "int"}, alone=True)
        return np.asarray(table["row"].to_numpy(), np.int64)
