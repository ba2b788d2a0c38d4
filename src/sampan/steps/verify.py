"""
Find what is missing or damaged in a results folder: shards, ledgers, receipts, orphaned files.

Sizes are always checked; --deep reads every file and checks its CRC-32C. --repair removes the
damaged shards' records and the receipts above them, and prints the command that makes just those
again.
"""

import argparse
import shlex
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.errors import StorageError
from sampan.steps import job
from sampan.store import ledger
from sampan.store.catalogue import Entry, datasets, entries, models
from sampan.store.committed import chosen
from sampan.store.durable import read_json
from sampan.store.identity import keys_digest
from sampan.store.index import IndexFolder, IndexPart
from sampan.store.layout import GROUP_METADATA, Layout
from sampan.store.ledger import Record
from sampan.store.shard import crc32c_of
from sampan.store.variant import LEFT_BEHIND_SECONDS, Variant, damage


@dataclass(frozen=True)
class Fault:
    """What is wrong; the file whose job makes it again, and the shard to forget first."""

    message: str
    receipt: Path | None = None
    shard: int | None = None
    variant: Variant | None = None
    orphan: Path | None = None


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--deep", action="store_true", help="read every file, check its CRC-32C")
    parser.add_argument("--repair", action="store_true", help="let what is damaged be made again")
    parser.add_argument(
        "--orphan-seconds",
        type=float,
        default=LEFT_BEHIND_SECONDS,
        help="age from which --repair removes temporary files; younger ones may be a running job's",
    )


def run(args: argparse.Namespace) -> None:
    if not args.results.is_dir():
        raise StorageError(f"{args.results}: no such results folder; set --results")
    found = list(faults(args.results, deep=args.deep))
    if not found:
        print(f"{args.results}: everything that is recorded is there and whole")
        return
    if not args.repair:
        raise StorageError([*(fault.message for fault in found), _advice(args)])
    for fault in found:
        print(f"found: {fault.message}")
    receipts = repair(found, args.orphan_seconds)
    if receipts:
        print("run this, with your --configfile if you use one, to make them again:")
        print(shlex.join(["snakemake", "--profile", "profiles/local", *map(str, receipts)]))


def _advice(args: argparse.Namespace) -> str:
    deep = " --deep" if args.deep else ""
    return (
        f"{args.results}: damaged; run: "
        f"sampan verify{deep} --repair --results {shlex.quote(str(args.results))}"
    )


def faults(results: Path, *, deep: bool) -> Iterator[Fault]:
    """Everything that is wrong in a results folder."""
    for dataset in datasets(results):
        yield from _index_faults(IndexFolder(dataset / "index"), deep)
        for entry in entries(dataset):
            yield from _stage_faults(entry, deep)
    for entry in models(results):
        yield from _model_faults(entry, deep)
    for path in sorted(results.rglob("*.partial")):
        yield Fault(f"{path}: temporary file, of a job that runs or was killed", orphan=path)


def _index_faults(folder: IndexFolder, deep: bool) -> Iterator[Fault]:
    if not folder.dataset.exists():
        return
    try:
        about = read_json(folder.dataset)
    except StorageError as fault:
        yield Fault(fault.faults[0], folder.dataset)
        return
    partitions = len(job.partitions(about))
    for part in about["parts"]:
        number = part["part"]
        receipts = [folder.receipt(name, number) for name in ("columns", *about["modalities"])]
        for path in (folder.plan(number, partitions), *receipts):
            try:
                read_json(path)
            except StorageError as fault:
                yield Fault(fault.faults[0], receipts[0])
        try:
            table = IndexPart(folder.part(number), part["rows"])
            if deep and keys_digest(table.read(["key"])["key"]) != part["keys"]:
                yield Fault(f"{folder.part(number)}: its keys are not those listed", receipts[0])
        except StorageError as fault:
            yield Fault(fault.faults[0], receipts[0])


def _stage_faults(entry: Entry, deep: bool) -> Iterator[Fault]:
    variant = entry.variant
    listing = ledger.Listing(variant.ledger)
    listed: dict[int, dict[str, Any]] = {}
    if entry.is_committed:
        try:
            listed = {part["part"]: part for part in entry.committed.about["parts"]}
            yield from _metadata_faults(entry)
        except StorageError as fault:
            yield Fault(fault.faults[0], variant.dataset)
    there = sorted((variant.path / "receipts").glob("part-*.json"))
    numbers = sorted({*listed, *(int(path.stem.removeprefix("part-")) for path in there)})
    for number in numbers:
        path = variant.receipt(number)
        try:
            receipt = read_json(path)
        except StorageError as fault:
            yield Fault(fault.faults[0], path)
            receipt = listed.get(number)
        if receipt is None or receipt["rows"] == 0:
            continue
        if number in listed and receipt["digest"] != listed[number]["digest"]:
            yield Fault(f"{path}: is not what dataset.json lists; run snakemake to commit it")
        try:
            layout = Layout.from_json(read_json(variant.layout))
        except StorageError as fault:
            yield Fault(fault.faults[0], path)
            return
        yield from _part_faults(variant, layout, receipt, path, deep, listing)


def _metadata_faults(entry: Entry) -> Iterator[Fault]:
    """What other Zarr readers need; committing again writes it."""
    variant, stage = entry.variant, entry.committed
    wanted = {variant.data / "zarr.json": GROUP_METADATA}
    for name in stage.layout.arrays:
        wanted[variant.data / name / "zarr.json"] = stage.layout.metadata(name, stage.rows)
    for path, value in wanted.items():
        try:
            if read_json(path) != value:
                yield Fault(f"{path}: is not what was committed", variant.dataset)
        except StorageError as fault:
            yield Fault(fault.faults[0], variant.dataset)


def _part_faults(
    variant: Variant,
    layout: Layout,
    receipt: dict[str, Any],
    path: Path,
    deep: bool,
    listing: ledger.Listing,
) -> Iterator[Fault]:
    records, messages = chosen(variant, layout, receipt, listing)
    for record in records:
        found = damage(variant, layout, record) or (_crc(variant, layout, record) if deep else [])
        for message in found:
            yield Fault(message, path, record.shard, variant)
        messages = [message for message in messages if message not in found]
    for message in messages:
        yield Fault(message, path)
    if deep:
        for shard, file in receipt["valid_files"].items():
            target = variant.shard(layout, "valid", int(shard))
            if target.exists() and crc32c_of(target) != file["crc32c"]:
                yield Fault(f"{target}: its bytes are not those recorded", path)
    if receipt["valid"] < receipt["rows"] and not variant.quarantine(receipt["part"]).exists():
        yield Fault(f"{variant.quarantine(receipt['part'])}: is missing", path)


def _crc(variant: Variant, layout: Layout, record: Record) -> list[str]:
    return [
        f"{path}: its bytes are not those recorded (CRC-32C {found}, recorded {wanted['crc32c']})"
        for array, wanted in record.files.items()
        for path in [variant.shard(layout, array, record.shard)]
        for found in [crc32c_of(path)]
        if found != wanted["crc32c"]
    ]


def _model_faults(entry: Entry, deep: bool) -> Iterator[Fault]:
    card = entry.variant.path / "model.json"
    if not card.exists():
        return
    for name, wanted in read_json(card)["files"].items():
        path = entry.variant.path / name
        if not path.exists() or path.stat().st_size != wanted["bytes"]:
            yield Fault(f"{path}: is missing or has another size than recorded", receipt=path)
        elif deep and crc32c_of(path) != wanted["crc32c"]:
            yield Fault(f"{path}: its bytes are not those recorded", receipt=path)


def repair(found: list[Fault], orphan_seconds: float) -> list[Path]:
    """Forget what is damaged; returns the receipts that have to be made again."""
    receipts: dict[Path, None] = {}
    for fault in found:
        if fault.orphan is not None:
            _remove_orphan(fault.orphan, orphan_seconds)
        if fault.variant is not None and fault.shard is not None:
            size = Layout.from_json(read_json(fault.variant.layout)).rows_per_shard
            ledger.forget(fault.variant.ledger, [fault.shard], size)
        if fault.receipt is not None:
            fault.receipt.unlink(missing_ok=True)
            receipts[fault.receipt] = None
    return list(receipts)


def _remove_orphan(path: Path, seconds: float) -> None:
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return
    if age >= seconds:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        job.log.info("%s: removed", path)
    else:
        job.log.info("%s: kept, only %.0f s old; see --orphan-seconds", path, age)
