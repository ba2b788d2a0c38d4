"""
A small stage made by hand: rows that are a function of their number, in shards of 8 rows.

As a program, `python -m store.partitions FOLDER`, it makes what is not yet done, to be killed.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.plugins import ArraySpec
from sampan.storage import outbox
from sampan.store import committed
from sampan.store import layout as layouts
from sampan.store.layout import Layout
from sampan.store.ledger import Record
from sampan.store.partition import Partition
from sampan.store.shard import ShardWriter
from sampan.store.variant import Variant, publish, temporary_shard

SPECS = {"image": ArraySpec(("y", "x"), (4, 3), "float32"), "length": ArraySpec((), (), "int32")}
SHARD = 8
ROWS_PER_PART = 32
INVALID = 10
"""Every tenth row is not valid."""


def layout() -> Layout:
    return layouts.choose("settings", SPECS, ROWS_PER_PART, rows_per_shard=SHARD)


def values(rows: range, version: int = 0) -> dict[str, NDArray[Any]]:
    """What the arrays hold; another version has other bytes and the same sizes."""
    at = np.array(rows, np.int64)
    image = (at[:, None, None] + np.arange(12).reshape(4, 3) / 16 + 1000 * version).astype("f4")
    return {"image": image, "length": (at + version).astype("i4")}


def partition(folder: Path, rows: int = ROWS_PER_PART, part: int = 0) -> Partition:
    """A partition of a stage in `folder`, which has `rows` rows in all."""
    first = min(part * ROWS_PER_PART, rows)
    stop = min(first + ROWS_PER_PART, rows)
    variant = Variant(folder)
    pinned = layouts.pin(variant.layout, layout())
    own = outbox.make(folder / outbox.FOLDER, f"part-{part:05d}", 0)
    return Partition(variant, pinned, part, first, stop - first, f"keys {first} {stop}", own)


def key_of(part: Partition, shard: int, version: int) -> str:
    rows = part.rows_of(shard)
    return f"{rows.start}-{rows.stop}/{version}"


def make_shard(part: Partition, shard: int, version: int = 0) -> Record:
    """Write and publish a shard; its record is the caller's to append."""
    rows = part.rows_of(shard)
    temporaries = {name: temporary_shard(part.outbox, name, shard) for name in SPECS}
    files = {}
    for name, data in values(rows, version).items():
        with ShardWriter(temporaries[name], part.layout.arrays[name]) as writer:
            writer.write(data)
            files[name] = writer.close()._asdict()
    publish(part.variant, part.layout, shard, temporaries)
    return Record(
        shard=shard,
        key=key_of(part, shard, version),
        rows=len(rows),
        files=files,
        invalid=[(row, f"odd: {row}") for row in rows if row % INVALID == 0],
        notes={"cut": 1},
    )


def make(part: Partition, version: int = 0) -> list[int]:
    """Do what is not done and write the receipt; returns the shards that were made."""
    todo = part.adopt({shard: key_of(part, shard, version) for shard in part.shards})
    with part.attempt() as attempt:
        for shard in todo:
            part.done[shard] = make_shard(part, shard, version)
            attempt.append(part.done[shard])
    receipt = part.finish({"key": [f"s{row}" for row, _ in part.invalid]})
    part.write_receipt(part.variant.receipt(part.part), receipt)
    return todo


def make_all(folder: Path, rows: int, version: int = 0) -> list[Path]:
    """All partitions of `rows` rows, and one beyond them; returns the receipts."""
    parts = [partition(folder, rows, n) for n in range(-(-rows // ROWS_PER_PART) + 1)]
    for part in parts:
        make(part, version)
    return [part.variant.receipt(part.part) for part in parts]


def commit(folder: Path, receipts: list[Path]) -> dict[str, Any]:
    return committed.commit(Variant(folder), receipts, {"stage": {}, "made_with": {}})


if __name__ == "__main__":
    ROWS_PER_PART = 1024
    print("ready", flush=True)
    make(partition(Path(sys.argv[1]), rows=1020))
