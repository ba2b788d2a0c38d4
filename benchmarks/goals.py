"""What a benchmark found beside its goal, as a table and as JSON."""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

VERSIONS = (
    *(
        "dask",
        "numcodecs",
        "numpy",
        "onnxruntime",
        "pillow",
        "simplejpeg",
        "snakemake",
        "soundfile",
    ),
    *("soxr", "torch", "transformers", "webdataset", "xarray", "zarr", "zarrs"),
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """One goal: the median of the repeats, their least and most."""

    hop: str
    measured: str
    values: tuple[float, ...]
    """One for each repeat; empty where it could not be measured, and `note` says why."""
    goal: float
    at_most: bool = False
    unit: str = "×"
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        if not self.values:
            return "not measured"
        met = self.median <= self.goal if self.at_most else self.median >= self.goal
        return "met" if met else "MISSED"

    def row(self) -> tuple[str, ...]:
        sign = "≤" if self.at_most else "≥"
        if not self.values:
            found = spread = "–"
        else:
            found = f"{self.median:.2f} {self.unit}"
            spread = f"{min(self.values):.2f}–{max(self.values):.2f}"
        goal = f"{sign} {self.goal:g} {self.unit}"
        return (self.hop, self.measured, found, spread, goal, self.verdict, self.note)


@dataclass
class Report:
    """What one benchmark found, and the figures behind it."""

    found: list[Found] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """Rates, sizes and seconds: for a person, not for a comparison between machines."""


HEAD = ("hop", "measured as", "median", "spread", "goal", "", "note")


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Of rates that were measured in turns, one ratio for each turn."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=True))


def in_turns(ways: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Each way once, and again, so that what else the machine does meets all alike."""
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats):
        for name, measure in ways.items():
            seen[name].append(measure())
            print(f"  {repeat + 1} of {repeats}  {name}: {seen[name][-1]:,.1f}", file=sys.stderr)
    return seen


def table(found: Sequence[Found]) -> str:
    rows = [HEAD, *(item.row() for item in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return "\n".join(
        [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
    )


def machine() -> dict[str, Any]:
    """Versions and cores, without which no figure means anything."""
    versions = {}
    for name in VERSIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": versions,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main(
    text: str | None,
    arguments: Callable[[argparse.ArgumentParser], None],
    measure: Callable[[argparse.Namespace], Report],
) -> None:
    """A benchmark by itself: its flags, its table, and `--out` for all of it as JSON."""
    parser = argparse.ArgumentParser(description=(text or "").strip().split("\n\n")[0])
    arguments(parser)
    parser.add_argument("--out", type=Path, help="write everything there as JSON")
    args = parser.parse_args()
    show(measure(args), args.out)


def show(report: Report, out: Path | None = None) -> None:
    """Print the table; with `out`, write everything there as JSON."""
    print(table(report.found))
    for name, value in report.figures.items():
        print(f"{name}: {value}")
    if out is not None:
        value = {
            "found": [asdict(item) | {"verdict": item.verdict} for item in report.found],
            "figures": report.figures,
            "machine": machine(),
        }
        out.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")
