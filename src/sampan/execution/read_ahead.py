"""
Blocks of rows made ahead by threads, in order, in bounded memory.

Readers take the blocks' rows, a few at a time, and pass what they read on to fillers; both are
ahead of whoever iterates. What is read and not filled yet, and what is begun and not given back
yet, is bounded in bytes; one piece that is larger than the bound goes by itself. How blocks are cut
decides what is in them, never which thread was first.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from sampan.execution.timings import WAIT, Timings

ROWS_AT_ONCE = 8
"""Rows that a thread takes at a time."""

Block = TypeVar("Block")
Filled = TypeVar("Filled", contravariant=True)


class Work(Protocol[Block]):
    """What the threads do."""

    def size(self, rows: range) -> int:
        """Bytes of a block of these rows."""
        ...

    def begin(self, rows: range) -> Block: ...

    def read(self, rows: range) -> tuple[Any, int]:
        """What is needed to fill these rows, and its bytes."""
        ...

    def filler(self) -> "Filler[Block]":
        """Called once in each thread that fills."""
        ...


class Filler(Protocol[Filled]):
    def fill(self, block: Filled, rows: range, found: Any) -> None: ...

    def close(self) -> None: ...


class _Begun(Generic[Block]):
    """A block with rows that are still to be filled."""

    def __init__(self, block: Block, rows: range, size: int) -> None:
        self.block, self.size = block, size
        self.left = len(rows)


class ReadAhead(Generic[Block]):
    """
    Context manager and iterator over the filled blocks, in the order of `cut`.

    A block's bytes count until the next one is asked for. The first exception in a thread is raised
    by the iterator; the threads have ended when the `with` block is left, however it is.
    `readers` may be 0: the fillers then read for themselves.
    """

    def __init__(
        self,
        work: Work[Block],
        cut: Sequence[range],
        *,
        readers: int,
        fillers: int,
        block_bytes: int,
        read_bytes: int,
        timings: Timings,
    ) -> None:
        self._work, self._timings = work, timings
        self._cut, self._blocks = deque(cut), len(cut)
        self._most = {"block": block_bytes, "read": read_bytes}
        self._held = {"block": 0, "read": 0}
        self._spans: deque[tuple[_Begun[Block], range]] = deque()
        self._read: deque[tuple[_Begun[Block], range, Any, int]] = deque()
        self._begun: deque[_Begun[Block]] = deque()
        self._fault: BaseException | None = None
        self._stopped = False
        self._reading = readers
        lock = threading.Lock()
        self._lock = lock
        self._room = threading.Condition(lock)
        self._read_room = threading.Condition(lock)
        self._to_fill = threading.Condition(lock)
        self._done = threading.Condition(lock)
        names = ["read"] * readers + ["fill"] * fillers
        run = {"read": self._reads, "fill": self._fills if readers else self._reads_and_fills}
        self._threads = [
            threading.Thread(target=self._guarded, args=(run[name],), name=f"sampan-{name}-{i}")
            for i, name in enumerate(names)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._stop()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Block]:
        for _ in range(self._blocks):
            with self._timings.at(WAIT), self._done:
                self._done.wait_for(self._is_next_ready)
                if self._fault is not None:
                    raise self._fault
                begun = self._begun.popleft()
            yield begun.block
            with self._lock:
                self._held["block"] -= begun.size
                self._room.notify_all()

    def _is_next_ready(self) -> bool:
        return self._fault is not None or (bool(self._begun) and self._begun[0].left == 0)

    # In the threads ---------------------------------------------------------------------------

    def _guarded(self, run: Any) -> None:
        try:
            run()
        except BaseException as fault:  # it is raised where the blocks are taken
            with self._lock:
                self._fault = self._fault or fault
                self._stop()

    def _stop(self) -> None:
        self._stopped = True
        for condition in (self._room, self._read_room, self._to_fill, self._done):
            condition.notify_all()

    def _reads(self) -> None:
        while (span := self._next_span()) is not None:
            begun, rows = span
            found, size = self._work.read(rows)
            with self._lock:
                self._read_room.wait_for(lambda size=size: self._fits("read", size))  # type: ignore[misc] # its default
                if self._stopped:
                    return
                self._held["read"] += size
                self._read.append((begun, rows, found, size))
                self._to_fill.notify()
        with self._lock:
            self._reading -= 1
            self._to_fill.notify_all()

    def _fills(self) -> None:
        filler = self._work.filler()
        try:
            while (item := self._next_read()) is not None:
                begun, rows, found, size = item
                filler.fill(begun.block, rows, found)
                with self._lock:
                    self._held["read"] -= size
                    self._read_room.notify()
                    self._filled(begun, rows)
                del item, found
        finally:
            filler.close()

    def _reads_and_fills(self) -> None:
        filler = self._work.filler()
        try:
            while (span := self._next_span()) is not None:
                begun, rows = span
                filler.fill(begun.block, rows, self._work.read(rows)[0])
                with self._lock:
                    self._filled(begun, rows)
        finally:
            filler.close()

    def _filled(self, begun: _Begun[Block], rows: range) -> None:
        begun.left -= len(rows)
        if begun.left == 0:
            self._done.notify()

    def _next_read(self) -> tuple[_Begun[Block], range, Any, int] | None:
        with self._lock:
            self._to_fill.wait_for(lambda: self._stopped or self._read or not self._reading)
            return None if self._stopped or not self._read else self._read.popleft()

    def _next_span(self) -> tuple[_Begun[Block], range] | None:
        with self._lock:
            while not self._stopped:
                if self._spans:
                    return self._spans.popleft()
                if not self._cut:
                    return None
                size = self._work.size(self._cut[0])
                if self._fits("block", size):
                    self._begin(self._cut.popleft(), size)
                else:
                    self._room.wait()
        return None

    def _begin(self, rows: range, size: int) -> None:
        begun = _Begun(self._work.begin(rows), rows, size)
        self._held["block"] += size
        self._begun.append(begun)
        for start in range(rows.start, rows.stop, ROWS_AT_ONCE):
            self._spans.append((begun, range(start, min(start + ROWS_AT_ONCE, rows.stop))))

    def _fits(self, what: str, size: int) -> bool:
        held = self._held[what]
        return self._stopped or held == 0 or held + size <= self._most[what]
