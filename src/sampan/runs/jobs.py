"""Whether a job without a result is running, waits, or failed: by its lease, events and log."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sampan.runs.log import Log, read_logs
from sampan.storage.lease import Attempt

State = Literal["running", "waiting", "failed"]

FRESH_SECONDS = 60.0
"""A log that was written to since then is taken for a job at work, where nothing says otherwise."""
LINES = 5


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When we look, in seconds since 1970, and the attempts of Snakemake at the whole run."""

    now: float
    runs: tuple[Attempt, ...] = ()

    @property
    def run(self) -> Attempt | None:
        """The Snakemake that is at work."""
        return next((run for run in self.runs if run.alive), None)

    def is_before_this_run(self, time: float) -> bool:
        """Of what happened then, the Snakemake at work knows: it makes it again."""
        return self.run is not None and time < self.run.since


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that is not done; `why` and `lines` of its log are there where it failed."""

    name: str
    state: State
    log: Path
    why: str = ""
    lines: tuple[str, ...] = ()
    samples_per_second: float | None = None
    seconds_left: float | None = None


def judge(
    name: str,
    path: Path,
    log: Log | None,
    attempts: Iterable[Attempt],
    moment: Moment,
    *,
    leased: bool,
) -> Job:
    """
    A job without a result. `attempts` are those at it; `leased` says whether its kind has any.

    A job of a kind without leases that a kill ended cannot be told from one that says nothing, and
    is taken for running as long as the Snakemake is at work that began it.
    """
    attempts = list(attempts)
    if any(attempt.alive for attempt in attempts):
        return Job(
            name=name,
            state="running",
            log=path,
            samples_per_second=log.events.samples_per_second if log and log.events else None,
            seconds_left=log.events.seconds_left if log and log.events else None,
        )
    if log is not None and log.failed:
        if moment.is_before_this_run(log.written):
            return Job(name=name, state="waiting", log=path)
        return Job(name=name, state="failed", log=path, why="failed", lines=log.lines[-LINES:])
    if attempts:
        last = attempts[-1]
        if moment.is_before_this_run(last.touched):
            return Job(name=name, state="waiting", log=path)
        lines = log.lines[-LINES:] if log else ()
        return Job(name=name, state="failed", log=path, why=_killed(last, moment), lines=lines)
    if log is None or log.stopped or moment.is_before_this_run(log.written):
        return Job(name=name, state="waiting", log=path)
    at_work = moment.now - log.written < FRESH_SECONDS or (not leased and moment.run is not None)
    return Job(name=name, state="running" if at_work else "waiting", log=path)


def span(seconds: float) -> str:
    """A time for people: `39 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24:,} d {hours % 24} h"


def _killed(attempt: Attempt, moment: Moment) -> str:
    then = (
        "runs again by itself if Snakemake has retries left, else run the same command again"
        if moment.run
        else "run the same command again"
    )
    job = f" (Slurm job {attempt.job})" if attempt.job else ""
    host = attempt.host or "an unknown host"
    return f"was killed on {host}{job} {span(attempt.age_seconds)} ago; {then}"


def judge_all(
    logs: Mapping[str, Path],
    attempts: Iterable[Attempt],
    moment: Moment,
    *,
    begun: Container[str],
    leased: Container[str],
) -> list[Job]:
    """
    Jobs without a result, by their names and logs. Those that have not `begun` have no log; those
    that are `leased` hold a lease of their name while they work.
    """
    of_name: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        of_name.setdefault(attempt.name, []).append(attempt)
    to_read = [name for name in logs if name in begun]
    found = dict(zip(to_read, read_logs(logs[name] for name in to_read), strict=True))
    return [
        judge(name, path, found.get(name), of_name.get(name, ()), moment, leased=name in leased)
        for name, path in logs.items()
    ]
