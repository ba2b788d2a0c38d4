"""An estimate as a table for people, 100 columns wide."""

import textwrap
from collections.abc import Iterator

from sampan.operations.estimate.quota import shown
from sampan.operations.estimate.totals import Estimate, Line
from sampan.operations.ls import megabytes

WIDTH = 100
LABEL = 36
COLUMNS = (9, 10, 9, 11, 12, 13)
UNKNOWN = "unknown"


def text(found: Estimate, config: str) -> Iterator[str]:
    """The table, the totals, where each number comes from, and what is not known."""
    yield f"{config}: from nothing, as the config plans it; what is there already is not deducted"
    for name, rows in found.rows.items():
        yield (
            f"dataset {name}: {rows.rows:,} samples, {rows.partitions:,} partitions of "
            f"{rows.rows_per_job:,} rows"
        )
    yield ""
    yield _cells("step", "jobs", "samples/s", "start-up", "node-hours", "bytes", "files")
    for line in found.lines:
        yield _row(line)
    small = found.snakemake
    yield _cells(".snakemake", "", "", "", "", megabytes(small.bytes or 0), f"{small.files:,}")
    jobs = sum(line.work.submitted + line.work.local for line in found.lines)
    yield _cells(
        "total" if not found.bytes.unknown and not found.node_hours.unknown else "total, at least",
        f"{jobs:,}",
        "",
        "",
        hours(found.node_hours.amount),
        megabytes(round(found.bytes.amount)),
        f"{found.files.amount:,.0f}",
    )
    yield ""
    for name, value in _totals(found):
        yield from _wrapped(name, value)
    yield ""
    yield "sources"
    for name, value in _sources(found):
        yield from _wrapped(f"  {name}", value)
    for warning in found.warnings():
        yield from textwrap.wrap(
            f"warning: {warning}", WIDTH, subsequent_indent="  ", break_long_words=False
        )


def _cells(label: str, *cells: str) -> str:
    label = label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"
    return label.ljust(LABEL) + "".join(
        cell.rjust(width) for cell, width in zip(cells, COLUMNS, strict=True)
    )


def _row(line: Line) -> str:
    rate, size = line.timed.rate, line.size
    per_second = rate and rate.samples_per_second
    timed = line.work.submitted > 0
    return _cells(
        line.work.label,
        f"{line.work.submitted + line.work.local:,}",
        f"{per_second:,.0f}" if per_second else "–" if rate or not timed else UNKNOWN,
        f"{rate.startup_seconds:.1f} s" if rate else "" if timed else "–",
        hours(line.timed.node_hours) if timed else "–",
        UNKNOWN if size.bytes is None else megabytes(size.bytes),
        UNKNOWN if size.files is None else f"{size.files:,}",
    )


def _totals(found: Estimate) -> Iterator[tuple[str, str]]:
    machines = found.machines
    shared = "each job has a node to itself"
    if machines.jobs_per_node > 1:
        shared = f"{machines.jobs_per_node} jobs share a node"
    nodes = f"{machines.nodes:,} node{'' if machines.nodes == 1 else 's'}"
    least = found.node_hours.at_least
    submitted = sum(line.work.submitted for line in found.lines)
    yield "jobs", f"{submitted:,} submitted ({shared}); the others run where Snakemake runs"
    yield "end", f"{_end(found)} on {nodes}{_when(found)}"
    yield "input", _input(found)
    if found.kilowatt_hours:
        yield (
            "energy",
            f"{least}{hours(found.kilowatt_hours.amount)} kWh, at {machines.watts:,.0f} W (stated) "
            "for each busy node",
        )
    for line in found.quota:
        state = {True: "kept", False: "broken", None: "not checked"}[line.kept]
        yield "quota", f"{line.name}: {shown(line.allowed)} allowed, {state}"


def _end(found: Estimate) -> str:
    plan = found.schedule
    if not plan.latest_seconds:
        return UNKNOWN
    if found.node_hours.unknown:
        return f"at least {duration(plan.earliest_seconds)}"
    ends = (duration(plan.earliest_seconds), duration(plan.latest_seconds))
    return " to ".join(dict.fromkeys(ends))


def _when(found: Estimate) -> str:
    if found.node_hours.unknown:
        return "; not every step was measured"
    return (
        f", if no job waits or fails: {found.end:%Y-%m-%d %H:%M:%S} at the latest, "
        f"from {found.start:%Y-%m-%d %H:%M:%S}"
    )


def _input(found: Estimate) -> str:
    known = [item for item in found.inputs if item.bytes_per_sample is not None]
    if not known:
        return UNKNOWN
    total = sum(item.bytes for item in known)
    least = "" if len(known) == len(found.inputs) else "at least "
    said = f"{least}{megabytes(round(total))} to read from the sources"
    peaks = [item.peak_bytes_per_second for item in known]
    mean = found.mean_bytes_per_second
    if mean is not None:
        said += f": {megabytes(round(mean))}/s over the whole run"
    if top := max((peak for peak in peaks if peak), default=None):
        said += f", {megabytes(round(top))}/s while all nodes decode"
    return said


def _sources(found: Estimate) -> Iterator[tuple[str, str]]:
    """Number → who says it; what several steps have from one source stands together."""
    for name, rows in found.rows.items():
        yield "samples", f"{name}: {rows.source}"
    yield "jobs", "the config: capacity / rows_per_job partitions of each step"
    rates: dict[str, list[str]] = {}
    sizes: dict[str, list[str]] = {}
    inputs: dict[str, list[str]] = {}
    for line in found.lines:
        if line.work.submitted:
            said = line.timed.rate.source if line.timed.rate else "not measured"
            rates.setdefault(said, []).append(line.work.label)
        sizes.setdefault(line.size.source, []).append(line.work.label)
    sizes.setdefault(found.snakemake.source, []).append(".snakemake")
    for item in found.inputs:
        inputs.setdefault(item.source, []).append(item.timed.work.label)
    for kind, groups in (("rates", rates), ("bytes", sizes), ("input", inputs)):
        for source, labels in groups.items():
            yield kind, f"{', '.join(labels)}: {source}"


def _wrapped(name: str, value: str) -> list[str]:
    return textwrap.wrap(
        value,
        WIDTH,
        initial_indent=name.ljust(11),
        subsequent_indent=" " * 11,
        break_long_words=False,
        break_on_hyphens=False,
    )


def hours(amount: float | None) -> str:
    """Node-hours or kilowatt-hours with about three digits."""
    if amount is None:
        return UNKNOWN
    if amount == 0:
        return "0"
    return (
        f"{amount:,.0f}" if amount >= 100 else f"{amount:.2f}" if amount >= 1 else f"{amount:.4f}"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them: the two largest units."""
    left = max(1, round(seconds)) if seconds else 0
    days, left = divmod(left, 86_400)
    whole, left = divmod(left, 3600)
    minutes, left = divmod(left, 60)
    if days:
        return f"{days:,} d {whole} h"
    if whole:
        return f"{whole} h {minutes:02d} min"
    return f"{minutes} min {left:02d} s" if minutes else f"{left} s"
