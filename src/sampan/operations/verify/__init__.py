"""
Find what is missing or damaged in a results folder: shards, ledgers, receipts, orphaned files.

Sizes and what files say of each other are always checked; --deep reads every file and checks its
CRC-32C. --repair removes the damaged shards' records and the receipts above them, and prints the
command that makes just those again.
"""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

from sampan.errors import StorageError
from sampan.index.parts import IndexFolder
from sampan.operations.verify.fault import Fault
from sampan.operations.verify.index import index_faults
from sampan.operations.verify.model import model_faults
from sampan.operations.verify.references import missing, references
from sampan.operations.verify.repair import changed_sources, repair
from sampan.operations.verify.stage import stage_faults
from sampan.store.catalogue import datasets, entries, models
from sampan.store.variant import LEFT_BEHIND_SECONDS


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
    everything = list(faults(args.results, deep=args.deep))
    for message in dict.fromkeys(fault.message for fault in everything if not fault.is_damage):
        print(f"note: {message}")
    found = [fault for fault in everything if fault.is_damage]
    if not found:
        print(f"{args.results}: everything that is recorded is there and whole")
        return
    if not args.repair:
        raise StorageError([*dict.fromkeys(fault.message for fault in found), _advice(args)])
    for message in dict.fromkeys(fault.message for fault in found):
        print(f"found: {message}")
    targets = repair(found, args.orphan_seconds)
    for line in changed_sources(args.results, targets):
        print(f"note: {line}; what is made again is of what it holds now")
    if targets:
        print("run this, with your --configfile if you use one, to make them again:")
        print(shlex.join(["snakemake", "--profile", "profiles/local", *map(str, targets)]))


def _advice(args: argparse.Namespace) -> str:
    deep = " --deep" if args.deep else ""
    return (
        f"{args.results}: damaged; run: "
        f"sampan verify{deep} --repair --results {shlex.quote(str(args.results))}"
    )


def faults(results: Path, *, deep: bool) -> Iterator[Fault]:
    """Everything that is wrong in a results folder."""
    made = references(results)
    yield from missing(made)
    for dataset in datasets(results):
        index = IndexFolder(dataset / "index")
        yield from index_faults(index, deep, is_needed=index.path in made)
        for entry in entries(dataset):
            yield from stage_faults(entry, index, deep, made.get(entry.variant.path))
    for entry in models(results):
        yield from model_faults(entry, deep)
    for path in sorted(results.rglob("*.partial")):
        message = f"{path}: temporary file, of a job that runs or was killed"
        yield Fault(message=message, stray=path, is_ours=False)


__all__ = ["arguments", "faults", "repair", "run"]
