"""The state of a run as a table for people, and as JSON."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TextIO

from sampan.reporting.wording import visible
from sampan.runs.jobs import Job, span
from sampan.runs.stages import StageStatus, Status

HEADER = (
    *("stage", "done", "running", "waiting", "failed"),
    *("valid", "quarantined", "absent", "rate", "left"),
)
FAILURES = 5
"""Failed jobs whose logs are shown."""
BAR_CELLS = 20
FEWEST_BAR_CELLS = 8
_COLOURS = {"failed": "31;1", "running": "36", "done": "32"}


class Screen(NamedTuple):
    """What the output can show: its width (0: no terminal), colours, and block characters."""

    width: int = 0
    colours: bool = False
    blocks: bool = True

    @classmethod
    def of(cls, out: TextIO, environment: Mapping[str, str] = os.environ) -> "Screen":
        if not out.isatty():
            return cls()
        plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
        is_utf = (out.encoding or "").lower().replace("-", "") == "utf8"
        columns = os.get_terminal_size(out.fileno()).columns or 80  # 0 where it does not say
        return cls(columns, not plain, is_utf)

    def coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.colours else text


def text(status: Status, config: str, screen: Screen) -> list[str]:
    """The lines of a whole look: who is at work, a line a stage, the failed jobs' last lines."""
    failed = [(stage, job) for stage in status.stages for job in stage.failed]
    lines = [headline(status, config), "", *_table(status.stages, screen)]
    for stage, job in failed[:FAILURES]:
        what = f"{' '.join([*_name(stage), job.name])} {job.why}: {job.log}"
        lines += [
            "",
            screen.coloured(what, "failed"),
            *(f"    {visible(line)}" for line in job.lines),
        ]
    if len(failed) > FAILURES:
        lines += ["", f"and {len(failed) - FAILURES:,} more"]
    return lines


def headline(status: Status, config: str) -> str:
    """Whether Snakemake is at work, and what to do if it is not."""
    where = f"{status.results}, by {config}: "
    if status.is_done:
        return f"{where}everything is done; look at {status.page}"
    if run := status.moment.run:
        job = f", Slurm job {run.job}," if run.job else ""
        return f"{where}Snakemake is at work on {run.host}{job} since {_date(run.since)}"
    if runs := status.moment.runs:
        killed = f"Snakemake was killed on {runs[-1].host} {span(runs[-1].age_seconds)} ago"
        return f"{where}{killed}; run it again to go on"
    return f"{where}no Snakemake is at work; run it again to go on"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _table(stages: Sequence[StageStatus], screen: Screen) -> list[str]:
    many = len({stage.dataset for stage in stages if stage.kind == "index"}) > 1
    rows = [HEADER, *(_cells(stage, many) for stage in stages)]
    used = [i for i in range(len(HEADER)) if i < 5 or any(row[i] for row in rows[1:])]
    widths = {i: max(len(row[i]) for row in rows) for i in used}
    left = screen.width - sum(widths.values()) - 2 * len(used)
    cells = min(BAR_CELLS, left) if left >= FEWEST_BAR_CELLS else 0
    lines = []
    for row, stage in zip(rows, [None, *stages], strict=True):
        shown = [row[i].ljust(widths[i]) if i == 0 else row[i].rjust(widths[i]) for i in used]
        if stage is not None:
            shown = _with_colours(shown, stage, screen)
            shown += [_bar(stage, cells, screen)] if cells else []
        lines.append("  ".join(shown).rstrip())
    return lines


def _with_colours(shown: list[str], stage: StageStatus, screen: Screen) -> list[str]:
    out = list(shown)
    if stage.done == stage.jobs:
        out[1] = screen.coloured(out[1], "done")
    for column, state in ((2, "running"), (4, "failed")):
        if stage.count(state):
            out[column] = screen.coloured(out[column], state)
    return out


def _name(stage: StageStatus) -> list[str]:
    kind = {"models": "model"}.get(stage.kind, stage.kind)
    return [word for word in (kind, stage.name) if word]


def _cells(stage: StageStatus, many: bool) -> tuple[str, ...]:
    prefix = [stage.dataset] if many and stage.dataset else []
    of_all = ""
    if stage.valid is not None:
        of_all = f"{stage.valid:,} of {'at most ' if stage.at_most else ''}{stage.rows:,}"
    rate, left = stage.samples_per_second, stage.seconds_left
    return (
        " ".join([*prefix, *_name(stage)]),
        f"{stage.done:,}/{stage.jobs:,}",
        *(f"{stage.count(state):,}" for state in ("running", "waiting", "failed")),
        of_all,
        "" if stage.quarantined is None else f"{stage.quarantined:,}",
        f"{stage.absent:,}" if stage.absent else "",
        f"{rate:,.0f}/s" if rate else "",
        "" if left is None else ("at most " if stage.at_most else "") + span(left),
    )


def share(stage: StageStatus) -> float:
    """How much of a stage is done: of its samples where it has any, else of its jobs."""
    if not stage.rows or stage.quarantined is None or stage.valid is None:
        return stage.done / stage.jobs
    return min(1.0, (stage.valid + stage.quarantined + (stage.absent or 0)) / stage.rows)


def _bar(stage: StageStatus, cells: int, screen: Screen) -> str:
    full = int(cells * share(stage))
    done, rest = ("█", "░") if screen.blocks else ("#", ".")
    return done * full + rest * (cells - full)


def as_json(status: Status, config: str) -> dict[str, Any]:
    """The same for programs; times in seconds, dates in UTC."""
    run = status.moment.run
    return {
        "results": str(status.results),
        "config": config,
        "time": _utc(status.moment.now),
        "done": status.is_done,
        "snakemake": run and {"host": run.host, "job": run.job, "since": _utc(run.since)},
        "stages": [_stage_json(stage) for stage in status.stages],
    }


def _stage_json(stage: StageStatus) -> dict[str, Any]:
    states = {state: stage.count(state) for state in ("running", "waiting", "failed")}
    return {
        "dataset": stage.dataset,
        "stage": stage.kind,
        "name": stage.name,
        "jobs": {"all": stage.jobs, "done": stage.done} | states,
        "samples": None
        if stage.valid is None
        else {
            "all": stage.rows,
            "at_most": stage.at_most,
            "valid": stage.valid,
            "quarantined": stage.quarantined,
            "absent": stage.absent,
        },
        "samples_per_second": stage.samples_per_second,
        "seconds_left": stage.seconds_left,
        "failed": [_job_json(job) for job in stage.failed],
    }


def _job_json(job: Job) -> dict[str, Any]:
    return {"job": job.name, "log": str(job.log), "why": job.why, "lines": list(job.lines)}


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
