"""What jobs took, from Snakemake's benchmark files, and how busy they were, by their events."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from sampan.execution.timings import Timings
from sampan.plan import Plan
from sampan.reporting.data import RuleReport
from sampan.runs.events import read_all

RULES = (
    "digits", "scan", "index", "preprocess", "extract", "commit", "train", "evaluate",
)  # fmt: skip
"""In the order of the data."""


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
    """Rule → stage → busy share, where its jobs say it."""
    found: dict[str, Timings] = {}
    files = list(_files(plan, folder, "events.jsonl"))
    for (rule, _), events in zip(files, read_all(path for _, path in files), strict=True):
        worked = events.worked if events else None
        if worked is None or not worked.busy:
            continue
        timings = found.setdefault(rule, Timings())
        for stage, share in worked.busy.items():
            seconds = worked.busy_seconds
            timings.merge(Timings({stage: share * seconds}, {stage: seconds}))
    return {rule: timings.shares() for rule, timings in found.items()}


def _files(plan: Plan, folder: Path, ending: str) -> Iterator[tuple[str, Path]]:
    """(rule, file); a rule's name is its folder's, or the file's where it has none of its own."""
    variants = {stage.variant for stage in plan.stages()}
    for owner in (*plan.config.datasets, "models"):
        for path in sorted((folder / owner).rglob(f"*.{ending}")):
            rule, *below = path.relative_to(folder / owner).parts
            below = [name.removesuffix(f".{ending}") for name in below]
            rule = rule.removesuffix(f".{ending}")
            named = [name for name in below if "@" in name]
            if all(name in variants for name in named):
                yield ("commit" if path.name == f"commit.{ending}" else rule), path


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
