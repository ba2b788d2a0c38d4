"""
How many samples of a stage are valid and quarantined: of partitions that are done by their
receipts, of others by the ledger.

Made for being looked at again and again on a slow shared tier: a folder is listed once a look, and
a receipt is read once, or not at all where `dataset.json` says the same.
"""

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from sampan.errors import StorageError
from sampan.runs.events import READERS
from sampan.storage.durable import read_json
from sampan.store import documents, ledger, ledger_files
from sampan.store.layout import Layout
from sampan.store.variant import Variant

Listing = Mapping[str, int]
"""Name → inode number of what is in a folder."""


def listing(folder: Path) -> dict[str, int]:
    """What is in a folder, of which no file is looked at; nothing where it is not there."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.inode() for entry in entries}
    except FileNotFoundError:
        return {}
    except OSError as fault:
        raise StorageError(f"{folder}: cannot be read: {fault.strerror or fault}") from fault


class PartitionCounts(NamedTuple):
    """Rows of a partition, how many are valid and how many absent; and what tells its content."""

    rows: int
    valid: int
    content: str = ""
    absent: int = 0

    @property
    def quarantined(self) -> int:
        return self.rows - self.valid - self.absent


def _counts(receipt: documents.ReceiptCounts) -> PartitionCounts:
    """Of a stage's receipt, or of the index's, which says of none that it is not valid."""
    content = receipt.get("digest") or repr(sorted(receipt.get("columns", {}).items()))
    return PartitionCounts(
        receipt["rows"],
        receipt.get("valid", receipt["rows"]),
        receipt["keys"] + content,
        receipt.get("absent", 0),
    )


def _recorded(record: ledger.Record) -> PartitionCounts:
    absent = len(record.absent)
    valid = record.rows - len(record.invalid) - absent
    return PartitionCounts(rows=record.rows, valid=valid, absent=absent)


class Receipts:
    """The partitions of one stage that are done, from one look to the next."""

    def __init__(self, folder: Path, dataset: Path) -> None:
        self._folder, self._dataset = folder, dataset
        self._read: dict[tuple[str, int], PartitionCounts] = {}
        self._stamp: tuple[int, int] | None = None
        self._committed: dict[str, PartitionCounts] = {}
        self.is_committed = False
        """Whether `dataset.json` lists just the partitions that are there."""

    def look(self, there: Listing, parts: Collection[str]) -> dict[str, PartitionCounts]:
        """Partition → its counts, of those of `parts` ("part-00003") whose receipt is `there`."""
        self._look_at_dataset()
        trusted = self._committed if self._is_newest() else {}
        wanted = {part: (part, there[f"{part}.json"]) for part in parts if f"{part}.json" in there}
        self._read = {key: self._read[key] for key in wanted.values() if key in self._read}
        new = [part for part in wanted if part not in trusted and wanted[part] not in self._read]
        with ThreadPoolExecutor(READERS) as pool:
            for part, counts in zip(new, pool.map(self._read_receipt, new), strict=True):
                if counts is None:
                    del wanted[part]
                else:
                    self._read[wanted[part]] = counts
        found = {
            part: trusted[part] if part in trusted else self._read[key]
            for part, key in wanted.items()
        }
        self.is_committed = (
            self._stamp is not None and found.keys() == set(parts) and found == self._committed
        )
        return found

    def _read_receipt(self, part: str) -> PartitionCounts | None:
        path = self._folder / f"{part}.json"
        try:
            return _counts(read_json(path, documents.ReceiptCounts))
        except StorageError:
            if path.exists():
                raise
            return None  # removed since it was listed, by a job that runs again

    def _look_at_dataset(self) -> None:
        try:
            about = self._dataset.stat()
            stamp = (about.st_ino, about.st_mtime_ns)
            if stamp != self._stamp:
                parts = read_json(self._dataset, documents.CountsOfParts)["parts"]
                self._committed = {f"part-{part['part']:05d}": _counts(part) for part in parts}
                self._stamp = stamp
        except FileNotFoundError:
            self._stamp, self._committed = None, {}
        except OSError as fault:
            raise StorageError(f"{self._dataset}: cannot be read: {fault}") from fault

    def _is_newest(self) -> bool:
        """Whether no receipt has come or gone since the stage was committed."""
        if self._stamp is None:
            return False
        try:
            return self._folder.stat().st_mtime_ns <= self._stamp[1]
        except FileNotFoundError:
            return False


class UnderWay:
    """What the ledger of one stage says of the partitions that are not done."""

    def __init__(self, variant: Variant, rows_per_job: int) -> None:
        self._variant, self._rows_per_job = variant, rows_per_job
        self._rows_per_shard = 0
        self._read: dict[Path, list[tuple[int, PartitionCounts | None]]] = {}

    def look(self, parts: Collection[str], running: Collection[str]) -> PartitionCounts:
        """
        Rows and valid rows of all recorded shards of `parts`; of those that are not `running` a
        ledger is read once.
        """
        if not parts:
            return PartitionCounts(0, 0)
        wanted = {int(part.removeprefix("part-")) for part in parts}
        at_work = {int(part.removeprefix("part-")) for part in running}
        found: dict[int, PartitionCounts] = {}
        for file in ledger_files.files(self._variant.ledger):
            its_parts = self._parts(file.first, file.stop)
            if wanted.isdisjoint(its_parts):
                continue
            records = self._read.get(file.path) or self._records(file.path)
            if at_work.isdisjoint(its_parts):
                self._read[file.path] = records
            else:
                self._read.pop(file.path, None)
            for shard, counts in records:
                if counts is None:
                    found.pop(shard, None)
                else:
                    found[shard] = counts
        if not found:
            return PartitionCounts(0, 0)
        counted = [
            counts
            for shard, counts in found.items()
            if shard * self._shard_rows() // self._rows_per_job in wanted
        ]
        return PartitionCounts(
            rows=sum(one.rows for one in counted),
            valid=sum(one.valid for one in counted),
            absent=sum(one.absent for one in counted),
        )

    def _parts(self, first: int, stop: int) -> range:
        return range(first // self._rows_per_job, -(-stop // self._rows_per_job))

    def _records(self, path: Path) -> list[tuple[int, PartitionCounts | None]]:
        return [
            (shard, None if record is None else _recorded(record))
            for shard, record in ledger.read(path)
        ]

    def _shard_rows(self) -> int:
        if not self._rows_per_shard:
            self._rows_per_shard = Layout.read(self._variant.layout).rows_per_shard
        return self._rows_per_shard
