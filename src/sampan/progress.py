"""How far work is: a bar on a terminal, lines in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sampan.events import Progressed, say


class Progress:
    """Counts what is done: a bar on a terminal, else a line in the log every ten seconds."""

    def __init__(self, what: str, total: int | None, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self.done = 0
        self._start = self._said = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=what, unit=f" {unit}", unit_scale=True)

    def add(self, count: int) -> None:
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() - self._said > 10:
            self._said = time.monotonic()
            say(self._event())

    def _event(self) -> Progressed:
        return Progressed(
            what=self._what,
            done=self.done,
            total=self._total,
            unit=self._unit,
            per_second=self.done / max(time.monotonic() - self._start, 1e-3),
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
