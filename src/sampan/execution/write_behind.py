"""Rows written by a thread of their own, in the order given, while the next ones are made."""

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray


class WriteBehind:
    """
    Context manager; `put` waits where more than `most_bytes` are not written yet.

    An exception of `write` is raised by the next `put`, or when the block is left. All is written
    when the block is left, unless it is left by an exception.
    """

    def __init__(self, write: Callable[[NDArray[Any]], None], most_bytes: int) -> None:
        self._write, self._most = write, most_bytes
        self._waiting: deque[NDArray[Any]] = deque()
        self._bytes = 0
        self._ended = False
        self._fault: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="sampan-write")

    def put(self, rows: NDArray[Any]) -> None:
        """Not to be changed afterwards."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._fault or not self._bytes or self._bytes + rows.nbytes <= self._most
            )
            if self._fault is not None:
                raise self._fault
            self._waiting.append(rows)
            self._bytes += rows.nbytes
            self._changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._ended = True
            if kind is not None:
                self._waiting.clear()
            self._changed.notify_all()
        self._thread.join()
        if self._fault is not None and kind is None:
            raise self._fault

    def _run(self) -> None:
        while (rows := self._next()) is not None:
            try:
                self._write(rows)
            except BaseException as fault:  # it is raised where the rows come from
                with self._changed:
                    self._fault = fault
                    self._changed.notify_all()
                return
            with self._changed:
                self._bytes -= rows.nbytes
                self._changed.notify_all()

    def _next(self) -> NDArray[Any] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            return self._waiting.popleft() if self._waiting else None
