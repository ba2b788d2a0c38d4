"""
What one partition's job pays for the ledgers of others: it must not grow with their number.

    python benchmarks/ledgers.py [others …] [--folder FOLDER]

A job of a stage that stands on another, with 64 shards of its own, beside the ledgers of so many
other partitions in both stages: it reads the records of the stage above, adopts its own, and opens
a ledger. All its shards are recorded, so that nothing is computed. CPU seconds, since fsync is the
disk's; the numbers of others take turns.
"""

import argparse
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import goals
import jobs
from goals import Found, Report, in_turns

from sampan.plugins import ArraySpec
from sampan.storage import outbox
from sampan.store import layout as layouts
from sampan.store import ledger, ledger_files
from sampan.store.committed import chosen
from sampan.store.documents import PartOfStage
from sampan.store.layout import Layout
from sampan.store.ledger import LedgerWriter, Record
from sampan.store.partition import Partition, shards_digest
from sampan.store.variant import Variant

SHARDS = 64
ROWS_PER_SHARD = 8
ROWS = SHARDS * ROWS_PER_SHARD
RUNS = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("others", type=int, nargs="*", default=[0, 1_000, 10_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=jobs.IN_MEMORY)


def measure(args: argparse.Namespace) -> Report:
    folder = args.folder / "ledgers-benchmark"
    shutil.rmtree(folder, ignore_errors=True)
    ways = {f"{n:,} others, µs a shard": job(folder / str(n), n) for n in sorted(args.others)}
    found = in_turns(ways, args.repeats)
    shutil.rmtree(folder)
    least, *_, most = found.values()
    return Report(
        [
            Found(
                hop=f"start of a job beside {max(args.others):,} ledgers of others",
                measured=f"CPU time ÷ that beside {min(args.others):,}",
                values=goals.ratios(most, least),
                goal=1.2,
                at_most=True,
            )
        ],
        {f"ledgers, {name}": [round(value) for value in values] for name, values in found.items()},
    )


def job(folder: Path, others: int) -> Callable[[], float]:
    """What measures one job, in the middle of the others."""
    part = others // 2
    above, own = Variant(folder / "above"), Variant(folder / "own")
    layout = layouts.choose(
        "settings", {"image": ArraySpec(("x",), (4,), "uint8")}, ROWS, rows_per_shard=ROWS_PER_SHARD
    )
    partition = Partition(own, layout, part, part * ROWS, ROWS, "keys", folder)
    records = [record(layout, shard) for shard in partition.shards]
    for variant in (above, own):
        for other in (*range(part), *range(part + 1, others + 1)):
            write(variant.ledger, other, records[:1])
        write(variant.ledger, part, records)
        for shard in partition.shards:
            path = variant.shard(layout, "image", shard)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            os.truncate(path, records[0].files["image"]["bytes"])
    receipt = PartOfStage(
        part=part,
        first=part * ROWS,
        rows=ROWS,
        valid=ROWS,
        keys="keys",
        digest=shards_digest(records),
        valid_files={},
    )
    return partial(start, above, partition, receipt, folder)


def record(layout: Layout, shard: int) -> Record:
    size = layout.arrays["image"].file_bytes(ROWS_PER_SHARD)
    files = {"image": {"bytes": size, "crc32c": "00000000"}}
    return Record(shard=shard, key="k", rows=ROWS_PER_SHARD, files=files)


def write(folder: Path, part: int, records: list[Record]) -> None:
    """The ledger of a partition, as an attempt leaves it behind, without its fsyncs."""
    first, stop = part * ROWS, (part + 1) * ROWS
    path = ledger_files.folder_of(folder, first, stop)
    path.mkdir(parents=True, exist_ok=True)
    lines = b"".join(one.line() for one in records)
    (path / ledger_files.name_of(first, stop, 1, "00000000")).write_bytes(lines)


def start(above: Variant, partition: Partition, receipt: PartOfStage, folder: Path) -> float:
    """CPU microseconds a shard, the least of some runs."""
    rows = partition.first, partition.first + partition.rows
    keys = dict.fromkeys(partition.shards, "k")
    took = []
    for _ in range(RUNS):
        began = time.process_time()
        _, faults = chosen(above, partition.layout, receipt, ledger.records(above.ledger, *rows))
        left = partition.adopt(keys)
        own = outbox.make(folder / outbox.FOLDER, "part-00000", 1)
        with LedgerWriter(partition.variant.ledger, *rows, own):
            pass
        shutil.rmtree(own)
        took.append(time.process_time() - began)
        assert not faults, faults
        assert not left, left
    return 1e6 * min(took) / SHARDS


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
