"""The folder of one variant of a stage, and where everything in it lies."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sampan.errors import StorageError
from sampan.plan.stages import Stage
from sampan.storage.durable import fsync_folder, storing
from sampan.store.layout import Layout
from sampan.store.ledger import Record

LEFT_BEHIND_SECONDS = 3600
"""Age at which a temporary file is taken for a killed attempt's, where nobody went on with it."""


@dataclass(frozen=True)
class Variant:
    """`<results>/<dataset>/<stage>/<name>@<digest>`."""

    path: Path

    @classmethod
    def of(cls, results: Path, stage: Stage) -> Self:
        return cls(results / stage.folder)

    @property
    def data(self) -> Path:
        return self.path / "data.zarr"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger"

    @property
    def leases(self) -> Path:
        return self.path / "leases"

    @property
    def layout(self) -> Path:
        return self.path / "layout.json"

    @property
    def dataset(self) -> Path:
        return self.path / "dataset.json"

    def receipt(self, part: int) -> Path:
        return self.path / "receipts" / f"part-{part:05d}.json"

    def quarantine(self, part: int) -> Path:
        return self.path / "quarantine" / f"part-{part:05d}.parquet"

    def shard(self, layout: Layout, array: str, shard: int) -> Path:
        return self.data / array / layout.arrays[array].shard_file(shard)


def temporary_shard(outbox: Path, array: str, shard: int) -> Path:
    return outbox / f"{array}.{shard}.{secrets.token_hex(4)}.partial"


def current(variant: Variant, layout: Layout, found: list[Record], key: str) -> Record | None:
    """A shard's latest record if its key and files hold; what an earlier one says was replaced."""
    if found and found[-1].key == key and not damage(variant, layout, found[-1]):
        return found[-1]
    return None


def damage(variant: Variant, layout: Layout, record: Record) -> list[str]:
    """What is wrong with a record, or with its shard's files, from their sizes."""
    if wrong := misfit(layout, record):
        return [f"{variant.path}: shard {record.shard}: its record {wrong}"]
    faults = []
    for array, wanted in record.files.items():
        path = variant.shard(layout, array, record.shard)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            faults.append(f"{path}: is missing")
            continue
        except OSError as fault:
            raise StorageError(f"{path}: cannot be read: {fault.strerror or fault}") from fault
        if size != wanted["bytes"]:
            faults.append(f"{path}: has {size:,} bytes; recorded: {wanted['bytes']:,}")
    return faults


def misfit(layout: Layout, record: Record) -> str | None:
    """Why a record is none of a stage with this layout."""
    first = record.shard * layout.rows_per_shard
    if not 0 < record.rows <= layout.rows_per_shard:
        return f"holds {record.rows:,} rows; a shard of its layout has {layout.rows_per_shard:,}"
    if record.files.keys() != layout.arrays.keys() - {"valid"}:
        return f"is of the arrays {', '.join(sorted(record.files)) or 'none'}"
    for array, file in record.files.items():
        wanted = layout.arrays[array].file_bytes(record.rows)
        if file["bytes"] != wanted:
            return f"gives {array} {file['bytes']:,} bytes; {record.rows:,} rows take {wanted:,}"
    rows = [*(row for row, _ in record.invalid), *record.absent]
    if not all(first <= row < first + record.rows for row in rows):
        return "says of rows that it does not hold that they are not valid"
    return None


def publish(variant: Variant, layout: Layout, shard: int, temporaries: Mapping[str, Path]) -> None:
    """Rename fsynced temporary files to their shard's names, and make the renames durable."""
    for array, temporary in temporaries.items():
        target = variant.shard(layout, array, shard)
        with storing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, target)
    for array in temporaries:
        with storing(variant.data / array):
            fsync_folder(variant.data / array)
