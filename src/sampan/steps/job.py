"""What all steps that run as jobs share: their flags, their grant, their turn, their log."""

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sampan.compute import Grant
from sampan.errors import ConfigError
from sampan.plan import Stage
from sampan.stopping import Stop, StoppedEarly, stop_signals
from sampan.store.durable import patiently
from sampan.store.lease import Attempt, Lease, Lost
from sampan.store.specs import value_of
from sampan.store.variant import Variant

log = logging.getLogger("sampan")

PATIENCE_SECONDS = 900.0


def arguments(
    parser: argparse.ArgumentParser,
    *,
    part: bool = False,
    grant: bool = False,
    patience: bool = False,
) -> None:
    """Add the flags of a rule's command."""
    parser.add_argument(
        "--spec", type=settings, required=True, help="settings, as one JSON, or @ and its file"
    )
    parser.add_argument("--results", type=Path, required=True, help="the results folder")
    if part:
        parser.add_argument("--part", type=int, required=True, help="number of the partition")
        parser.add_argument(
            "--receipt", type=Path, required=True, help="the file that says it is done"
        )
    if grant:
        parser.add_argument("--threads", type=int, default=1, help="threads granted")
        parser.add_argument("--memory-mb", type=int, default=4096, help="memory granted, in MB")
        parser.add_argument("--gpus", type=int, default=0, help="GPUs granted")
    if grant or patience:
        parser.add_argument(
            "--patience-seconds",
            type=float,
            default=PATIENCE_SECONDS,
            help="how long storage may be in trouble before the job fails",
        )


def settings(text: str) -> Any:
    """The value of a flag that is JSON, or `@` and the name of a file with it."""
    try:
        return value_of(text)
    except ConfigError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None


def grant_of(args: argparse.Namespace) -> Grant:
    return Grant(threads=args.threads, memory_mb=args.memory_mb, gpus=args.gpus)


def partitions(spec: dict[str, Any]) -> range:
    """Numbers of a dataset's partitions, with data or without."""
    return range(-(-spec["capacity"] // spec["rows_per_job"]))


def stage_of(value: dict[str, Any]) -> Stage:
    return Stage(**value)


def variant_of(results: Path, value: dict[str, Any]) -> Variant:
    return Variant(results / stage_of(value).folder)


class Turn:
    """
    A job's time at its work, which ends when it is asked to stop, or taken for dead by others.

    Without a lease, for work that is nobody else's, it never ends.
    """

    def __init__(self, stop: Stop | None = None, lease: Lease | None = None) -> None:
        self._stop = Stop() if stop is None else stop
        self._lease = lease

    def is_over(self) -> bool:
        return bool(self._stop) or (self._lease is not None and self._lease.lost)

    def check(self, what: str, *, to_record: bool = False) -> None:
        """`StoppedEarly` if it is over; `to_record` what was made, if nobody else makes it."""
        if not to_record:
            self._stop.check(what)
        try:
            if self._lease is not None:
                self._lease.check()
        except Lost as fault:
            raise StoppedEarly(f"{what}: taken for dead; another attempt goes on") from fault


@contextmanager
def turn(folder: Path, name: str, what: str, patience_seconds: float) -> Iterator[Turn]:
    """
    Wait until no other attempt is at work on `name`; from here on signals to stop are noted.

    `StoppedEarly` where the signal comes while it waits.
    """
    said = 0.0

    def waiting(holder: Attempt) -> None:
        nonlocal said
        stop.check(what)
        if time.monotonic() - said > 60:
            said = time.monotonic()
            log.info("%s: waits for the attempt on %s", what, holder)

    with stop_signals() as stop, ExitStack() as stack:
        enter = partial(stack.enter_context, Lease(folder, name, waiting))
        yield Turn(stop, patiently(enter, patience_seconds, what))


def turn_at_part(args: argparse.Namespace, verb: str) -> Any:
    """The `turn` of a job that makes one partition of a variant."""
    variant = variant_of(args.results, args.spec["stage"])
    what = f"{verb} {variant.path.name} part {args.part}"
    return turn(variant.leases, f"part-{args.part:05d}", what, args.patience_seconds)


class Progress:
    """Counts what is done: a bar on a terminal, else a line in the log every ten seconds."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = 0
        self._start = self._said = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=what, unit=f" {unit}", unit_scale=True)

    def add(self, count: int) -> None:
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() - self._said > 10:
            self._said = time.monotonic()
            log.info("%s", self)

    def __str__(self) -> str:
        rate = self._done / max(time.monotonic() - self._start, 1e-3)
        left = (self._total - self._done) / rate if rate else float("inf")
        return (
            f"{self._what}: {self._done:,} of {self._total:,} {self._unit} "
            f"({rate:,.0f}/s, {left:,.0f} s left)"
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def progress(what: str, total: int, unit: str = "samples") -> Iterator[Progress]:
    shown = Progress(what, total, unit)
    try:
        yield shown
    finally:
        shown.close()
