"""CPU seconds that one sample may take."""

import ctypes
import ctypes.util
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

CPU_SECONDS = float(os.environ.get("SAMPAN_CPU_SECONDS", "60"))
"""For one sample's decoder; a slow disk costs no CPU seconds."""
CLOCK_THREAD_CPUTIME_ID = 3
"""Linux, time.h: the CPU time of the thread that asks."""


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


class ThreadLimit:
    """
    The same for one of several threads: its own CPU seconds count, whatever the others do.

    Made in that thread; each `with` block counts from 0, and again from `restart`. Without a limit
    where others share the process (`threads`), and elsewhere than on Linux, which has timers on a
    thread's clock (timer_create of POSIX.1-2017).
    """

    def __init__(self, workers: Literal["threads", "processes"]) -> None:
        self._timer = ctypes.c_void_p()
        self._system = _timers() if workers == "processes" else None
        self._most, self._none = (ctypes.byref(_interval(most)) for most in (CPU_SECONDS, 0))
        if self._system is not None:
            event = _Event(signo=signal.SIGPROF)
            made = self._system.timer_create(
                CLOCK_THREAD_CPUTIME_ID, ctypes.byref(event), ctypes.byref(self._timer)
            )
            if made != 0:
                raise OSError(ctypes.get_errno(), "timer_create")

    def __enter__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The next sample of a block begins."""
        self._set(self._most)

    def __exit__(self, *_: object) -> None:
        self._set(self._none)

    def close(self) -> None:
        if self._system is not None:
            self._system.timer_delete(self._timer)

    def _set(self, value: Any) -> None:
        if self._system is not None:
            self._system.timer_settime(self._timer, 0, value, None)


class _Event(ctypes.Structure):
    """struct sigevent; `notify` 0 is SIGEV_SIGNAL."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_char * 48),
    )


class _Interval(ctypes.Structure):
    """struct itimerspec: the time between repetitions, none here, and until the first."""

    _fields_ = (
        ("every_seconds", ctypes.c_long),
        ("every_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


def _interval(seconds: float) -> _Interval:
    whole = int(seconds)
    return _Interval(seconds=whole, nanoseconds=int((seconds - whole) * 1e9))


@cache
def _timers() -> Any:
    """The C library's timers, or None; before glibc 2.34 they are in a library of their own."""
    if sys.platform != "linux":
        return None
    for name in (None, ctypes.util.find_library("rt")):
        library = ctypes.CDLL(name, use_errno=True)
        if hasattr(library, "timer_create"):
            return library
    return None
