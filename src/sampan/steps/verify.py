"""
Find what is missing or damaged in a results folder: shards, ledgers, receipts, orphaned files.

Sizes are always checked; --deep reads every file and checks its CRC-32C. --repair removes the
damaged shards' records and the receipts above them, and prints the command that makes just those
again.
"""

import argparse
import shlex
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
from sampan.store.index import IndexFolder
from sampan.store.layout import Layout
from sampan.store.ledger import Record
from sampan.store.shard import crc32c_of
from sampan.store.variant import Variant, damage

ORPHAN_SECONDS = 3600


@dataclass(frozen=True)
class Fault:
    """What is wrong; the receipt whose job makes it again, and the shards to forget first."""

    message: str
    receipt: Path | None = None
    shards: tuple[int, ...] = ()
    variant: Variant | None = None
    orphan: Path | None = None


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--deep", action="store_true", help="read every file, check its CRC-32C")
    parser.add_argument("--repair", action="store_true", help="let what is damaged be made again")
    parser.add_argument(
        "--orphan-seconds",
        type=float,
        default=ORPHAN_SECONDS,
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
        print("run this to make them again:")
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
        yield from _index_faults(IndexFolder(dataset / "index"))
        for entry in entries(dataset):
            yield from _stage_faults(entry, deep)
    for entry in models(results):
        yield from _model_faults(entry, deep)
    for path in sorted(results.rglob("*.partial")):
        yield Fault(f"{path}: temporary file, of a job that runs or was killed", orphan=path)


def _index_faults(folder: IndexFolder) -> Iterator[Fault]:
    if not folder.dataset.exists():
        return
    about = read_json(folder.dataset)
    for part in about["parts"]:
        number = part["part"]
        receipts = [folder.receipt(name, number) for name in ("columns", *about["modalities"])]
        for path in (folder.plan(number), folder.part(number), *receipts):
            if not path.exists() or path.stat().st_size == 0:
                yield Fault(f"{path}: is missing or empty", receipt=receipts[0])


def _stage_faults(entry: Entry, deep: bool) -> Iterator[Fault]:
    variant = entry.variant
    listed: dict[int, dict[str, Any]] = {}
    if entry.is_committed:
        listed = {part["part"]: part for part in entry.committed.about["parts"]}
    there = sorted((variant.path / "receipts").glob("part-*.json"))
    numbers = sorted({*listed, *(int(path.stem.removeprefix("part-")) for path in there)})
    if numbers and not variant.layout.exists():
        yield Fault(f"{variant.layout}: is missing", receipt=variant.receipt(numbers[0]))
        return
    for number in numbers:
        path = variant.receipt(number)
        try:
            receipt = read_json(path)
        except StorageError as fault:
            yield Fault(fault.faults[0], receipt=path)
            receipt = listed.get(number)
        if receipt is None:
            continue
        if number in listed and receipt["digest"] != listed[number]["digest"]:
            yield Fault(f"{path}: is not what dataset.json lists; run snakemake to commit it")
        yield from _part_faults(variant, receipt, path, deep)


def _part_faults(
    variant: Variant, receipt: dict[str, Any], path: Path, deep: bool
) -> Iterator[Fault]:
    if not receipt["rows"]:
        return
    layout = Layout.from_json(read_json(variant.layout))
    records, messages = chosen(variant, layout, receipt)
    known: set[str] = set()
    for record in records:
        for message in damage(variant, layout, record) or (
            _crc(variant, layout, record) if deep else []
        ):
            known.add(message)
            yield Fault(message, path, (record.shard,), variant)
    for message in messages:
        if message not in known:
            yield Fault(message, path, (), variant)
    if deep:
        for shard, file in receipt["valid_files"].items():
            target = variant.shard(layout, "valid", int(shard))
            if target.exists() and crc32c_of(target) != file["crc32c"]:
                yield Fault(f"{target}: its bytes are not those recorded", path, (), variant)
    if receipt["valid"] < receipt["rows"] and not variant.quarantine(receipt["part"]).exists():
        yield Fault(f"{variant.quarantine(receipt['part'])}: is missing", path, (), variant)


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
        if fault.variant is not None and fault.shards:
            ledger.forget(fault.variant.ledger, fault.shards)
        if fault.receipt is not None:
            fault.receipt.unlink(missing_ok=True)
            receipts[fault.receipt] = None
    return list(receipts)


def _remove_orphan(path: Path, seconds: float) -> None:
    age = time.time() - path.stat().st_mtime
    if age >= seconds:
        path.unlink()
        job.log.info("%s: removed", path)
    else:
        job.log.info("%s: kept, only %.0f s old; see --orphan-seconds", path, age)
