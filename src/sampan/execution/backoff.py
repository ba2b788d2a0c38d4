"""Rows that do not fit in memory at once: halved, and the work goes on."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sampan.execution.out_of_memory import (
    free_memory,
    is_out_of_memory,
    limit_memory,
    too_large,
    wanted_mb,
)
from sampan.plugins import PendingEmbeddings

log = logging.getLogger("sampan")

T = TypeVar("T")
Rows = NDArray[np.intp]
"""(row): places within a block."""


class MemoryBackoff:
    """
    Encodes rows on a device, in parts that fit in its memory as far as this has found out.

    A part that does not fit is halved for all work from then on, with a line in the log. Where one
    row does not fit: `ConfigError` with numbers, and `advice` on its size. `what` names the work.
    """

    def __init__(self, what: str, device: str, advice: str = "") -> None:
        self._what, self._device, self._advice = what, device, advice
        self._most: int | None = None

    def cut(self, rows: Rows) -> Iterator[Rows]:
        """`rows` in parts of which each fits in memory, as far as is known when it is taken."""
        start = 0
        while start < len(rows):
            stop = start + (self._most or len(rows))
            yield rows[start:stop]
            start = stop

    def run(self, encode: Callable[[Rows], NDArray[np.float32]], rows: Rows) -> NDArray[np.float32]:
        """`encode(rows)` at once, or in parts; (row) → (row, embedding)."""
        parts: list[NDArray[np.float32]] = []
        start = 0
        while start < len(rows):
            part = next(self.cut(rows[start:]))
            found = self.attempt(partial(encode, part), len(part))
            if found is not None:
                parts.append(found)
                start += len(part)
        return np.concatenate(parts) if len(parts) != 1 else parts[0]

    def begin(self, begin: Callable[[Rows], PendingEmbeddings], rows: Rows) -> "BegunRows":
        """Rows that are encoded in two steps; `begin(rows)` gives what ends them."""
        return BegunRows(self, begin, rows)

    def attempt(self, work: Callable[[], T], size: int) -> T | None:
        """None where `size` rows do not fit; half of them are tried from then on."""
        try:
            with limit_memory(self._device):
                return work()
        except Exception as fault:
            if not is_out_of_memory(fault):
                raise
            wanted = wanted_mb(fault)
            if size == 1:
                raise too_large(
                    self._what, "one sample", wanted, self._device, self._advice
                ) from fault
        # here the failed batch's arrays are no longer held by the exception
        self._most = min(self._most or size, size // 2)
        free_memory(self._device)
        log.warning(
            "%s: a batch of %d rows does not fit in memory%s; going on with %d",
            self._what, size, f" (wanted {wanted:,.0f} MB more)" if wanted else "", size // 2,
        )  # fmt: skip
        return None


class BegunRows:
    """
    Rows that were begun when this was made, and are ended when they are asked for.

    Where memory runs out in either step, they are encoded in parts at the end.
    """

    def __init__(
        self, memory: MemoryBackoff, begin: Callable[[Rows], PendingEmbeddings], rows: Rows
    ) -> None:
        self._memory, self._begin, self._rows = memory, begin, rows
        self._pending = memory.attempt(partial(begin, rows), len(rows))
        self.seconds: float | None = None
        """That the device worked, where it was measured; known at the end."""

    def end(self) -> NDArray[np.float32]:
        """(row, embedding)."""
        pending, self._pending = self._pending, None
        if pending is not None:
            found = self._memory.attempt(pending, len(self._rows))
            if found is not None:
                self.seconds = pending.seconds
                return found
        del pending
        return self._memory.run(lambda rows: self._begin(rows)(), self._rows)
