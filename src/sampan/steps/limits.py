"""CPU seconds that one sample may take."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

CPU_SECONDS = float(os.environ.get("SAMPAN_CPU_SECONDS", "60"))
"""For one sample's decoder; a slow disk costs no CPU seconds."""


@contextmanager
def cpu_seconds_at_most(workers: Literal["threads", "processes", "one"]) -> Iterator[None]:
    """
    Let the kernel end this process if the block takes too many CPU seconds.

    The signal's default action ends the process even where a decoder holds the interpreter's lock.
    In a process that others share (`threads`, `one`) there is no limit.
    """
    if workers != "processes":
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
