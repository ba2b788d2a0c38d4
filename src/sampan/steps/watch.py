"""
Hold the results folder for one run of Snakemake, and look after its Slurm jobs.

The Snakefile starts it before the first job and keeps its standard input open: it ends when
Snakemake does, however that ends. Another Snakemake on the same results is refused meanwhile.

Snakemake waits for ever for a job that was preempted and is not put back into the queue, for one
that Slurm no longer knows, and for one whose end it missed while Slurm was away. Jobs of the first
kind are put back; for the others Snakemake is told to end, for the same command to go on.
"""

import argparse
import logging
import os
import select
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from sampan.errors import ConfigError
from sampan.slurm import preflight
from sampan.slurm.cluster import Cluster, SlurmRefused
from sampan.steps.flags import json_of
from sampan.storage.lease import STALE_SECONDS, Attempt, Lease

log = logging.getLogger("sampan")

LOOK_SECONDS = 20.0
FORGOTTEN_SECONDS = 600.0
"""For Snakemake to see the end of a job itself: it looks every 180 s at least."""
FEWEST_SECONDS_REMEMBERED = 30
"""Where Slurm forgets jobs sooner (MinJobAge), the plugin asks the accounting instead."""
STRANDED = ("PREEMPTED", "NODE_FAIL")
HELD = "launch failed requeued held"
"""Why Slurm holds a job that it could not begin, as while a controller starts anew."""
RELEASES = 3
"""Of one such job: what cannot be begun at all is left held."""
ENDED = (
    *(*STRANDED, "BOOT_FAIL", "COMPLETED", "CANCELLED", "DEADLINE", "FAILED", "OUT_OF_MEMORY"),
    *("TIMEOUT", "REVOKED"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, required=True, help="the results folder")
    parser.add_argument(
        "--slurm-jobs",
        type=json_of,
        help="what the run's jobs ask of Slurm, as JSON, or @ and its file; if they do",
    )


def run(args: argparse.Namespace) -> None:
    """Say "ready", then work until standard input ends."""
    preflight.check(args.slurm_jobs or ())
    watch = None if args.slurm_jobs is None else JobWatch(os.getcwd(), time.time())
    with Lease(args.results / "leases", "run", _Refusal(args.results)):
        print("ready", flush=True)
        while not _ended_within(LOOK_SECONDS):
            if watch is not None:
                watch.look()


class _Refusal:
    """
    Refuses a run beside another once that is seen to be alive; one that was killed is waited out.
    """

    def __init__(self, results: Path) -> None:
        self._results = results
        self._first: Attempt | None = None

    def __call__(self, holder: Attempt) -> None:
        first = self._first or holder
        if holder.at_work_here or (holder.path == first.path and holder.touched > first.touched):
            raise ConfigError(
                f"{self._results}: another Snakemake is at work on it: {holder}; wait for its end, "
                "or set `results:` to another folder"
            )
        if self._first is None:
            log.info(
                "another Snakemake was at work: %s; if it was killed, this one goes on in %.0f s",
                holder, STALE_SECONDS - holder.age_seconds,
            )  # fmt: skip
        if self._first is None or holder.path != first.path:
            self._first = holder


def _ended_within(seconds: float) -> bool:
    """Whether standard input comes to its end; nobody ever writes to it."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable)


class JobWatch:
    """The Slurm jobs that were submitted from a folder since a time in seconds since 1970."""

    def __init__(self, folder: str, since: float) -> None:
        self._folder, self._since = folder, since
        self._seen: dict[str, str] = {}
        """Job → its latest state."""
        self._missing: dict[str, float] = {}
        """Job that ended unseen → when it was first missed."""
        self._released: Counter[str] = Counter()
        self._idle: float | None = None
        """Since when all jobs have ended, and Snakemake does nothing about it."""

    def look(self) -> None:
        """Put stranded jobs back into the queue; end Snakemake where it waits for nothing."""
        states = self._states()
        if states is None:
            return
        for number, state in states.items():
            if state in STRANDED:
                self._requeue(number, state)
            elif state == HELD:
                self._release(number)
        self._note_missing(states)
        self._note_idle(states)
        if forgotten := self._forgotten():
            self._end(f"Slurm no longer knows the jobs {', '.join(forgotten)}")
        elif self._idle is not None and self._idle < time.monotonic() - FORGOTTEN_SECONDS:
            self._end("Snakemake has missed that all its jobs have ended")

    def _end(self, why: str) -> None:
        log.error("error: %s; run the same command again: what is finished is kept", why)
        os.kill(os.getppid(), signal.SIGINT)
        self._missing.clear()
        self._idle = None

    def _states(self) -> dict[str, str] | None:
        """Job → state; None where Slurm does not answer."""
        found = _ask("squeue", "--me", "--noheader", "--states=all", "--format=%i|%T|%V|%r|%Z")
        if found is None:
            return None
        states = {}
        for line in found.splitlines():
            number, state, submitted, reason, folder = line.split("|", 4)
            began = time.mktime(time.strptime(submitted, "%Y-%m-%dT%H:%M:%S"))
            if folder == self._folder and began >= int(self._since):
                states[number] = HELD if reason == HELD else state
        return states

    def _requeue(self, number: str, state: str) -> None:
        if _ask("scontrol", "requeue", number) is not None:
            log.warning("job %s was %s: back in the queue", number, state)

    def _release(self, number: str) -> None:
        """Snakemake would wait for it for ever."""
        if self._released[number] < RELEASES and _ask("scontrol", "release", number) is not None:
            self._released[number] += 1
            log.warning("job %s could not be begun and was held: released", number)

    def _note_missing(self, states: dict[str, str]) -> None:
        now = time.monotonic()
        for number, state in self._seen.items():
            if number not in states and state not in ENDED:
                self._missing.setdefault(number, now)
        self._missing = {n: since for n, since in self._missing.items() if n not in states}
        self._seen |= states

    def _note_idle(self, states: dict[str, str]) -> None:
        if states and all(state in ENDED for state in states.values()) and not _works_itself():
            self._idle = time.monotonic() if self._idle is None else self._idle
        else:
            self._idle = None

    def _forgotten(self) -> list[str]:
        limit = time.monotonic() - FORGOTTEN_SECONDS
        found = [number for number, since in self._missing.items() if since < limit]
        return found if found and _remembers() else []


def _remembers() -> bool:
    """Whether Snakemake's plugin relies on squeue here."""
    found = _ask("scontrol", "show", "config") or ""
    ages = [line.split("=")[1].split()[0] for line in found.splitlines() if "MinJobAge" in line]
    return bool(ages) and int(ages[0]) >= FEWEST_SECONDS_REMEMBERED


def _works_itself() -> bool:
    """Whether Snakemake runs another process than this one: a local job, or a question to Slurm."""
    import psutil

    children = psutil.Process(os.getppid()).children()
    return any(child.pid != os.getpid() for child in children)


def _ask(*words: str) -> str | None:
    """What a command of Slurm's prints; None where it fails or does not answer."""
    try:
        return Cluster().ask(words, patient=False)
    except SlurmRefused as refusal:
        log.warning("%s: %s", words[0], refusal)
        return None
