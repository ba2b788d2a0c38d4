"""How busy the stages of a job were: measured for each shard, summed."""

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter, time

WAIT = "wait"
"""Of the thread that encodes, or writes, for the stages before it."""

_ADDING = threading.Lock()


@dataclass
class Timings:
    """
    Seconds that threads worked at each stage, or waited, and that there were for it.

    `available` is wall time times threads, so that their ratio is a share of 0 to 1. They are no
    part of a record or a receipt, which are the same whenever and wherever they are made.
    """

    busy: dict[str, float] = field(default_factory=dict)
    available: dict[str, float] = field(default_factory=dict)
    began: float = math.inf
    ended: float = -math.inf
    """Of all that was measured; seconds since 1970, which processes of a machine share."""

    def add(self, stage: str, seconds: float) -> None:
        with _ADDING:
            self.busy[stage] = self.busy.get(stage, 0.0) + seconds

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """The block is work of this stage, or a wait."""
        start = perf_counter()
        try:
            yield
        finally:
            self.add(stage, perf_counter() - start)

    @contextmanager
    def on(self, threads: Mapping[str, int]) -> Iterator[None]:
        """The stages, each with so many threads, are at work during the block."""
        start = perf_counter()
        self.began = min(self.began, time())
        try:
            yield
        finally:
            seconds = perf_counter() - start
            self.ended = max(self.ended, time())
            for stage, number in threads.items():
                self.available[stage] = self.available.get(stage, 0.0) + seconds * number

    def merge(self, other: "Timings") -> None:
        for mine, theirs in ((self.busy, other.busy), (self.available, other.available)):
            for stage, seconds in theirs.items():
                mine[stage] = mine.get(stage, 0.0) + seconds
        self.began, self.ended = min(self.began, other.began), max(self.ended, other.ended)

    @property
    def seconds(self) -> float:
        """From the first shard's beginning to the last one's end: no start of a worker is in it."""
        return max(0.0, self.ended - self.began)

    def shares(self) -> dict[str, float]:
        """Stage → its busy share, 0 to 1; those that there were."""
        return {
            stage: min(1.0, self.busy.get(stage, 0.0) / seconds)
            for stage, seconds in self.available.items()
            if seconds
        }
