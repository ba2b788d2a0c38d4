"""What is wrong with one partition of a stage: records, shards, `valid`, quarantine, receipt."""

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sampan.config.names import FeatureName
from sampan.errors import StorageError
from sampan.execution.decoding import quarantined
from sampan.index.parts import Index, IndexFolder, IndexPart
from sampan.operations.verify.fault import Fault
from sampan.storage.parquet import read_table
from sampan.store.catalogue import Entry
from sampan.store.committed import FAULTS_NAMED, bytes_of
from sampan.store.documents import PartOfStage, Receipt
from sampan.store.identity import digest_lines
from sampan.store.layout import Layout
from sampan.store.ledger import Listing, Record
from sampan.store.partition import count_reasons, shards_digest, sum_notes
from sampan.store.read import Reader
from sampan.store.shard import crc32c_of
from sampan.store.variant import damage


def _without(receipt: Receipt) -> int:
    """Rows that are not valid."""
    return receipt["rows"] - receipt["valid"]


Invalid = list[tuple[int, str]]


class PartitionCheck:
    """The partitions of one stage, one after the other."""

    def __init__(self, entry: Entry, layout: Layout, index: IndexFolder, deep: bool) -> None:
        self._entry, self._layout, self._deep = entry, layout, deep
        self._variant = entry.variant
        self._index = index
        self._listing = Listing(self._variant.ledger)
        self.bytes = 0
        """Of the partition that was looked at last."""

    def faults(self, receipt: Receipt, number: int, path: Path) -> Iterator[Fault]:
        """Of a partition whose receipt can be read."""
        self.bytes = 0
        if wrong := self._misplaced(receipt, number):
            yield Fault(message=f"{path}: {wrong}", remade=(path,))
            return
        found = self.shards(receipt, path)
        yield from found
        if found or not receipt["rows"]:
            return
        records = self._records(receipt)
        self.bytes = bytes_of(receipt, records)
        yield from self._rows_faults(receipt, records, path)

    def _misplaced(self, receipt: Receipt, number: int) -> str | None:
        if receipt["part"] != number or receipt["settings"] != self._layout.settings:
            return "is of another partition or of other settings"
        if receipt["valid"] > receipt["rows"]:
            return "has more valid rows than rows"
        keys = self._keys.get((receipt["first"], receipt["rows"]))
        if keys is not None and receipt["rows"] and keys != receipt["keys"]:
            return "is of other samples than the index has there"
        size = self._layout.arrays["valid"].rows_per_shard
        first, stop = receipt["first"], receipt["first"] + receipt["rows"]
        wanted = range(first // size, -(-stop // size)) if receipt["rows"] else range(0)
        have = sorted(map(int, receipt["valid_files"]))
        if have != list(islice(wanted, len(have) + 1)):
            return "lists other files of valid than its rows have"
        return None

    @cached_property
    def _keys(self) -> dict[tuple[int, int], str]:
        try:
            parts = Index(self._index).about["parts"]
        except StorageError:
            return {}
        return {(part["first"], part["rows"]): part["keys"] for part in parts}

    # Shards -----------------------------------------------------------------------------------

    def shards(self, part: PartOfStage, path: Path) -> list[Fault]:
        """Records that are missing or wrong, and files that are not what is recorded."""
        first, stop = part["first"], part["first"] + part["rows"]
        found = self._listing.records(first, stop) if part["rows"] else {}
        faults: list[Fault] = []
        for shard in self._layout.shards(first, part["rows"]):
            if shard not in found:
                if len(faults) >= FAULTS_NAMED:
                    break
                message = f"{self._variant.path}: shard {shard} has no record in the ledger"
                faults.append(Fault(message=message, remade=(path,)))
                continue
            record = found[shard][-1]
            size = self._layout.rows_per_shard
            rows = min(stop, (shard + 1) * size) - shard * size
            wrong = damage(self._variant, self._layout, record)
            if not wrong and record.rows != rows:
                wrong = [
                    f"{self._variant.path}: shard {shard}: its record holds {record.rows:,} rows; "
                    f"expected: {rows:,}"
                ]
            if not wrong and self._deep:
                wrong = self._sums(record)
            faults += [self._of_shard(shard, message, path) for message in wrong]
        return [*faults, *self._valid_files(part, path)]

    def _of_shard(self, shard: int, message: str, path: Path) -> Fault:
        return Fault(
            message=message,
            variant=self._variant,
            shard=shard,
            rows_per_shard=self._layout.rows_per_shard,
            remade=(path,),
        )

    def _sums(self, record: Record) -> list[str]:
        return [
            f"{path}: its bytes are not those recorded "
            f"(CRC-32C {found}, recorded {wanted['crc32c']})"
            for array, wanted in record.files.items()
            for path in [self._variant.shard(self._layout, array, record.shard)]
            for found in [crc32c_of(path)]
            if found != wanted["crc32c"]
        ]

    def _valid_files(self, part: PartOfStage, path: Path) -> Iterator[Fault]:
        for shard, file in part["valid_files"].items():
            target = self._variant.shard(self._layout, "valid", int(shard))
            if not target.exists() or target.stat().st_size != file["bytes"]:
                message = f"{target}: is missing or has another size than recorded"
                yield Fault(message=message, remade=(path,))
            elif self._deep and crc32c_of(target) != file["crc32c"]:
                yield Fault(message=f"{target}: its bytes are not those recorded", remade=(path,))

    def _records(self, part: PartOfStage) -> list[Record]:
        first, rows = part["first"], part["rows"]
        found = self._listing.records(first, first + rows)
        return [found[shard][-1] for shard in self._layout.shards(first, rows)]

    # Rows -------------------------------------------------------------------------------------

    def _rows_faults(self, receipt: Receipt, records: list[Record], path: Path) -> Iterator[Fault]:
        """Whether records, receipt, `valid` and quarantine say the same of the rows."""
        said = [item for record in records for item in record.invalid]
        wrong = self._altered(receipt, records, said)
        for shard, message in wrong.items():
            yield self._of_shard(shard, f"{self._variant.path}: shard {shard}: {message}", path)
        if not wrong:
            for message in self._disagreements(receipt, records, said):
                yield Fault(message=f"{path}: {message}", remade=(path,))
        yield from self._quarantine_faults(receipt, said, path, is_sound=not wrong)

    def _altered(self, receipt: Receipt, records: list[Record], said: Invalid) -> dict[int, str]:
        """Shard → what its record says that others deny."""
        wrong: dict[int, str] = {}
        if shards_digest(records) != receipt["digest"]:
            for record in records:
                if record.content != self._content(record):
                    wrong[record.shard] = "its record is not of the bytes that were read"
        without = [*(row for row, _ in said), *(row for one in records for row in one.absent)]
        if self._deep or len(without) != receipt["rows"] - receipt["valid"]:
            for row in self._not_valid(receipt) ^ set(without):
                wrong[row // self._layout.rows_per_shard] = (
                    "its record says of other rows than `valid` that they are not valid"
                )
        notes = sum_notes(record.notes for record in records)
        if notes != receipt["notes"]:
            for record in records:
                wrong.setdefault(record.shard, "its record has other notes than the receipt")
        return wrong

    def _disagreements(
        self, receipt: Receipt, records: list[Record], said: Invalid
    ) -> Iterator[str]:
        if shards_digest(records) != receipt["digest"]:
            yield "the ledger does not add up to it"
        absent = sum(len(record.absent) for record in records)
        if (len(said) + absent, absent) != (_without(receipt), receipt.get("absent", 0)):
            yield "valid, absent: the ledger says other numbers"
        if count_reasons(reason for _, reason in said) != receipt["reasons"]:
            yield "reasons: the ledger says others"

    def _content(self, record: Record) -> str:
        """The digest of the source bytes, of those that are stored for each row."""
        if "digest" not in self._layout.arrays:
            return ""
        first = record.shard * self._layout.rows_per_shard
        digests = self._array("digest").rows(first, first + record.rows)
        return digest_lines([digests.tobytes().hex()])

    def _not_valid(self, part: PartOfStage) -> set[int]:
        first = part["first"]
        valid: NDArray[np.bool_] = self._array("valid").rows(first, first + part["rows"])
        return {first + int(row) for row in np.flatnonzero(~valid)}

    def _array(self, name: str) -> Reader:
        return Reader(self._variant.data / name, self._layout.arrays[name])

    # The quarantine ---------------------------------------------------------------------------

    def _quarantine_faults(
        self, receipt: Receipt, said: Invalid, path: Path, *, is_sound: bool
    ) -> Iterator[Fault]:
        file = self._variant.quarantine(receipt["part"])
        if _without(receipt) == receipt.get("absent", 0):
            if file.exists():
                yield Fault(message=f"{file}: no row is to be in it", remade=(path,))
            return
        if not file.exists():
            yield Fault(message=f"{file}: is missing", remade=(path,))
            return
        if not self._deep:
            return
        try:
            columns = read_table(file, {"row": "int", "reason": "text"}).to_pydict()
        except StorageError as fault:
            yield Fault(message=fault.faults[0], remade=(path,))
            return
        held = list(zip(columns["row"], columns["reason"], strict=True))
        if held != said and is_sound:
            if [row for row, _ in held] == [row for row, _ in said]:
                # Either may be the one that was altered: the shard is asked again.
                differ = {row for (row, one), (_, other) in zip(held, said, strict=True)
                          if one != other}  # fmt: skip
                for shard in sorted({row // self._layout.rows_per_shard for row in differ}):
                    message = f"{file}: shard {shard}: its record gives other reasons"
                    yield self._of_shard(shard, message, path)
            else:
                message = f"{file}: holds other rows than the ledger says are not valid"
                yield Fault(message=message, remade=(path,))
        elif is_sound and not self._is_of_index(receipt, columns):
            message = f"{file}: its keys and cells are not those of the index"
            yield Fault(message=message, remade=(path,))

    def _is_of_index(self, receipt: Receipt, columns: dict[str, list[object]]) -> bool:
        """Whether key and cell of the rows are the index's, where the index still has them."""
        modality = FeatureName.parse(self._entry.name).modality
        keys = self._keys.get((receipt["first"], receipt["rows"]))
        if ("key" not in columns) or keys != receipt["keys"]:
            return True
        try:
            rows = [int(str(row)) for row in columns["row"]]
            table = IndexPart(self._index.part(receipt["part"]))
            if table.first != receipt["first"] or table.stored < receipt["rows"]:
                return True  # what is wrong with the index is said of it
            wanted = quarantined(table.path, modality, rows)
        except StorageError:
            return True
        return all(columns.get(name) == values for name, values in wanted.items())
