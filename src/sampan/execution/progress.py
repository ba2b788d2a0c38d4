"""How far work is: a bar on a terminal, lines in a log."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger("sampan")


class Progress:
    """Counts what is done: a bar on a terminal, else a line in the log every ten seconds."""

    def __init__(self, what: str, total: int | None, unit: str) -> None:
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
        if self._total is None:
            return f"{self._what}: {self._done:,} {self._unit} ({rate:,.0f}/s)"
        left = (self._total - self._done) / rate if rate else float("inf")
        return (
            f"{self._what}: {self._done:,} of {self._total:,} {self._unit} "
            f"({rate:,.0f}/s, {left:,.0f} s left)"
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def show_progress(what: str, total: int | None, unit: str = "samples") -> Iterator[Progress]:
    """`total` is None where it is not known beforehand."""
    shown = Progress(what, total, unit)
    try:
        yield shown
    finally:
        shown.close()
