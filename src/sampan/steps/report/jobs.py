"""What the jobs took, from Snakemake's benchmark files, and how busy they were, from their logs."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from sampan.execution.timings import Timings, from_words
from sampan.plan import Plan
from sampan.reporting.data import RuleReport

RULES = (
    "digits", "scan", "index", "preprocess", "extract", "commit", "train", "evaluate",
)  # fmt: skip
"""In the order of the data."""
BUSY = ("preprocess", "extract")
"""Rules whose jobs say how busy their stages were."""


def jobs_of(plan: Plan, results: Path) -> list[RuleReport]:
    """
    Each rule's jobs, over the datasets and variants of this config.

    Of a job that ran again the last time counts. Memory is the largest resident set in MB that
    Snakemake saw; 0 where a job was over before it looked. Busy shares are means over the jobs'
    seconds at work.
    """
    busy = _busy(plan, results / "logs")
    found: dict[str, list[tuple[float, float]]] = {}
    for rule, path in _files(plan, results / "benchmarks", "tsv"):
        if (numbers := _last_run(path)) is not None:
            found.setdefault(rule, []).append(numbers)
    ordered = sorted(found, key=lambda rule: (RULES.index(rule) if rule in RULES else 99, rule))
    return [
        RuleReport(
            rule=rule,
            jobs=len(found[rule]),
            seconds=sum(seconds for seconds, _ in found[rule]),
            max_memory_mb=max(memory for _, memory in found[rule]),
            busy=busy.get(rule, {}),
        )
        for rule in ordered
    ]


def _busy(plan: Plan, folder: Path) -> dict[str, dict[str, float]]:
    """Rule → stage → busy share, where its logs say it."""
    found: dict[str, Timings] = {}
    for rule, path in _files(plan, folder, "log"):
        if rule in BUSY and (said := from_words(path.read_text(errors="replace"))):
            shares, seconds = said
            timings = found.setdefault(rule, Timings())
            for stage, share in shares.items():
                timings.merge(Timings({stage: share * seconds}, {stage: seconds}))
    return {rule: timings.shares() for rule, timings in found.items()}


def _files(plan: Plan, folder: Path, ending: str) -> Iterator[tuple[str, Path]]:
    """(rule, file); a rule's name is its folder's, or the file's where it has none of its own."""
    variants = {stage.variant for stage in plan.stages()}
    for owner in (*plan.config.datasets, "models"):
        for path in sorted((folder / owner).rglob(f"*.{ending}")):
            rule, *below = path.relative_to(folder / owner).with_suffix("").parts
            named = [name for name in below if "@" in name]
            if all(name in variants for name in named):
                yield ("commit" if path.stem == "commit" else rule), path


def _last_run(path: Path) -> tuple[float, float] | None:
    """(seconds, memory in MB), or None where nothing was measured."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if not rows:
        return None
    seconds, memory = _number(rows[-1].get("s")), _number(rows[-1].get("max_rss"))
    return None if math.isnan(seconds) else (seconds, 0.0 if math.isnan(memory) else memory)


def _number(text: str | None) -> float:
    """NaN for what Snakemake writes where it could not measure: `NA` or `-`."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
