"""
How a job is asked to end before its time: SIGTERM, or SIGUSR1 some time before the limit.

The job finishes the shard or the step at hand and exits with 75; whoever runs it again has it go on
from there. Slurm sends its signals to all processes of a job, so workers are started with both
blocked: they finish what they have, and end when the job's own process lets go of them.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StoppedEarly(Exception):
    """Ended on request, with all that was finished kept: run it again to go on."""


class Stop:
    """Whether the job was asked to end."""

    def __init__(self) -> None:
        self._by: signal.Signals | None = None

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        self._by = signal.Signals(number)

    def __bool__(self) -> bool:
        return self._by is not None

    def check(self, what: str) -> None:
        """`StoppedEarly` if it was."""
        if self._by is not None:
            raise StoppedEarly(f"{what}: asked to stop by {self._by.name}")


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """From here on the signals are noted, in place of ending the process."""
    asked = Stop()
    before = {number: signal.signal(number, asked.ask) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def without_signals() -> Iterator[None]:
    """Threads and processes that are started in here never get the signals."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
