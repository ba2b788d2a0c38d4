"""
Remove the variants and pages that none of the given configs reaches, after saying how much and
asking.

Give every config that people use on this results folder: what none of them makes is removed.
"""

import argparse
import sys
from pathlib import Path

from sampan.config.load import load
from sampan.errors import ConfigError
from sampan.operations.ls import megabytes
from sampan.plan import Plan
from sampan.store.catalogue import Entry, datasets, entries, models, remove, size_of


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configs", type=Path, nargs="+", help="all configs in use")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> None:
    plans = [Plan(load(path)) for path in args.configs]
    found = [(entry, size_of(entry.variant.path)) for entry in unreached(plans)]
    pages = [(page, page.stat().st_size) for page in unreached_pages(plans)]
    if not found and not pages:
        print("nothing to remove: every variant and page is reached by a config")
        return
    for path, size in (*((entry.variant.path, size) for entry, size in found), *pages):
        print(f"{megabytes(size):>10}  {path}")
    total = megabytes(sum(size for _, size in (*found, *pages)))
    what = f"{len(found)} variants" + (f" and {len(pages)} pages" if pages else "")
    if not args.yes and not _agreed(f"Remove these {what}, {total}? [y/N] "):
        print("nothing was removed")
        return
    for entry, _ in found:
        remove(entry.variant)
    for page, _ in pages:
        page.unlink(missing_ok=True)
    print(f"removed {what}, {total}")


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


def unreached_pages(plans: list[Plan]) -> list[Path]:
    """Pages in the configs' results folders that are none of theirs."""
    reached = {(plan.results / plan.page).resolve() for plan in plans}
    there = [
        page
        for folder in dict.fromkeys((plan.results / plan.page).parent.resolve() for plan in plans)
        for page in sorted(folder.glob("*.html"))
    ]
    return [page for page in there if page not in reached]


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("gc asks before it removes; at no terminal, say --yes")
    return input(question).strip().lower() in ("y", "yes")
