"""What all steps that run as jobs share: their flags, their grant, their log."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sampan.compute import Grant
from sampan.plan import Stage
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
    parser.add_argument("--spec", type=_json, required=True, help="settings, as one JSON")
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


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(f"not JSON: {fault}") from None


def grant_of(args: argparse.Namespace) -> Grant:
    return Grant(threads=args.threads, memory_mb=args.memory_mb, gpus=args.gpus)


def stage_of(value: dict[str, Any]) -> Stage:
    return Stage(**value)


def variant_of(results: Path, value: dict[str, Any]) -> Variant:
    return Variant(results / stage_of(value).folder)


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
