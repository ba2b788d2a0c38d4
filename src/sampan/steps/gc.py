"""
Remove the variants that none of the given configs reaches, after saying how much and asking.

Give every config that people use on this results folder: what none of them makes is removed.
"""

import argparse
import sys
from pathlib import Path

from sampan.config.load import load
from sampan.errors import ConfigError
from sampan.plan import Plan
from sampan.steps.ls import megabytes
from sampan.store.catalogue import Entry, datasets, entries, models, remove, size_of


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configs", type=Path, nargs="+", help="all configs in use")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> None:
    plans = [Plan(load(path)) for path in args.configs]
    found = [(entry, size_of(entry.variant.path)) for entry in unreached(plans)]
    if not found:
        print("nothing to remove: every variant is reached by a config")
        return
    for entry, size in found:
        print(f"{megabytes(size):>10}  {entry.variant.path}")
    total = megabytes(sum(size for _, size in found))
    if not args.yes and not _agreed(f"Remove these {len(found)} variants, {total}? [y/N] "):
        print("nothing was removed")
        return
    for entry, _ in found:
        remove(entry.variant)
    print(f"removed {len(found)} variants, {total}")


def unreached(plans: list[Plan]) -> list[Entry]:
    """Variants in the configs' results folders that none of the plans makes."""
    reached = {(plan.results / stage.folder).resolve() for plan in plans for stage in plan.stages()}
    there = [
        entry
        for results in dict.fromkeys(plan.results.resolve() for plan in plans)
        for folder in (*map(entries, datasets(results)), models(results))
        for entry in folder
    ]
    return [entry for entry in there if entry.variant.path.resolve() not in reached]


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("gc asks before it removes; at no terminal, say --yes")
    return input(question).strip().lower() in ("y", "yes")
