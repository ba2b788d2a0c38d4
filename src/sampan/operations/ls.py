"""
List what a results folder holds: variants with rows, bytes, date, and what they were made with.
"""

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sampan.storage.durable import read_json
from sampan.store.catalogue import Entry, datasets, entries, models, size_of
from sampan.store.documents import Summary

HEADER = ("dataset", "variant", "rows", "valid", "size", "date", "made with")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: results")


def run(args: argparse.Namespace) -> None:
    rows = [HEADER, *table(args.results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    for row in rows:
        cells = [
            cell.rjust(width) if i in (2, 3, 4) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    if len(rows) == 1:
        print(f"{args.results}: nothing yet; run: make run")


def table(results: Path) -> Iterator[tuple[str, ...]]:
    """A row for each variant, committed or not."""
    for dataset in datasets(results):
        for entry in entries(dataset):
            yield _stage_row(entry)
    for entry in models(results):
        card = entry.variant.path / "model.json"
        about = read_json(card, Summary) if card.exists() else None
        counts = about["counts"] if about else {}
        yield (
            "models",
            entry.variant.path.name,
            f"{sum(counts.values()):,}" if about else "",
            "",
            megabytes(size_of(entry.variant.path)),
            date_of(card) if about else "not trained",
            json.dumps(about["settings"], ensure_ascii=False) if about else "",
        )


def _stage_row(entry: Entry) -> tuple[str, ...]:
    name = f"{entry.stage}/{entry.variant.path.name}"
    if not entry.is_committed:
        size = megabytes(size_of(entry.variant.path))
        return (entry.dataset, name, "", "", size, "not committed", "")
    about = entry.committed.about
    return (
        entry.dataset,
        name,
        f"{about['rows']:,}",
        f"{about['valid']:,}",
        megabytes(about["bytes"]),
        date_of(entry.variant.dataset),
        json.dumps(about["made_with"], ensure_ascii=False),
    )


def megabytes(size: int) -> str:
    """A size for people, in decimal units."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def date_of(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M")
