"""
Batches that do not fit in memory: halved, and the work goes on.

An allocation that fails is an answer; a process that the kernel or Dask kills for its memory is
none. So a batch on the CPU runs under a limit that is reached first.
"""

import gc
import logging
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sampan.errors import ConfigError
from sampan.plugins import TimesDevice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger("sampan")

T = TypeVar("T")

FAILED = re.compile(
    r"out of memory|not enough memory|can't allocate memory|failed to allocate memory"
    r"|unable to allocate|bad_alloc|bad allocation|could not create a memory|STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
"""
What PyTorch, CUDA, cuBLAS, cuDNN, oneDNN and onnxruntime say, each in a `RuntimeError` or the like.
"""
WANTED = re.compile(
    r"(?:allocate|requested buffer of size|tried to allocate) *:? *(\d+(?:\.\d+)?) ?(\w*)",
    re.IGNORECASE,
)
UNITS = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "pib": 2**50}
SHARE = 0.9
"""Of a worker's memory that a batch may bring it to; Dask kills at 0.95."""


class RowLimit:
    """How many rows of one loaded encoder fit in memory at once, as far as was found out."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._most: int | None = None

    def parts(self, rows: "NDArray[np.intp]") -> "Iterator[NDArray[np.intp]]":
        """`rows` in parts of which each fits, as far as was found out until it is taken."""
        start = 0
        while start < len(rows):
            stop = start + (self._most or len(rows))
            yield rows[start:stop]
            start = stop

    def attempt(self, work: "Callable[[], T]", size: int, what: str, advice: str) -> "T | None":
        """None where `size` rows do not fit; half of them are tried from then on."""
        try:
            with _memory_at_most(self.device):
                return work()
        except Exception as fault:
            if not is_out_of_memory(fault):
                raise
            wanted = wanted_mb(fault)
            if size == 1:
                raise _too_large(what, "one sample", wanted, self.device, advice) from fault
        # here the failed batch's arrays are no longer held by the exception
        self._most = min(self._most or size, size // 2)
        let_go(self.device)
        log.warning(
            "%s: a batch of %d rows does not fit in memory%s; going on with %d",
            what, size, f" (wanted {wanted:,.0f} MB more)" if wanted else "", size // 2,
        )  # fmt: skip
        return None


def in_parts(
    encode: "Callable[[NDArray[np.intp]], NDArray[np.float32]]",
    rows: "NDArray[np.intp]",
    limit: RowLimit,
    what: str,
    advice: str = "",
) -> "NDArray[np.float32]":
    """
    `encode(rows)` at once, or in as large parts as fit in memory; (row) → (row, embedding).

    Parts are halved from then on, with a line in the log each time. `ConfigError` with numbers
    where one row does not fit, and `advice` on its size. `what` names the work.
    """
    import numpy as np

    parts: list[NDArray[np.float32]] = []
    start = 0
    while start < len(rows):
        part = next(limit.parts(rows[start:]))
        found = limit.attempt(partial(encode, part), len(part), what, advice)
        if found is not None:
            parts.append(found)
            start += len(part)
    return np.concatenate(parts) if len(parts) != 1 else parts[0]


class EncodingBatch:
    """
    Rows that are encoded in two steps: begun when this is made, and ended when they are asked for.

    `begin(rows)` gives what ends them. Where memory runs out in either step, they are encoded in
    parts at the end, as `in_parts` does it.
    """

    def __init__(
        self,
        begin: "Callable[[NDArray[np.intp]], Callable[[], NDArray[np.float32]]]",
        rows: "NDArray[np.intp]",
        limit: RowLimit,
        what: str,
        advice: str = "",
    ) -> None:
        self._begin, self._rows, self._limit = begin, rows, limit
        self._what, self._advice = what, advice
        self._begun = limit.attempt(partial(begin, rows), len(rows), what, advice)
        self.seconds: float | None = None
        """That the device worked, where `begin` says so; known at the end."""

    def end(self) -> "NDArray[np.float32]":
        begun, self._begun = self._begun, None
        if begun is not None:
            found = self._limit.attempt(begun, len(self._rows), self._what, self._advice)
            if found is not None:
                self.seconds = begun.seconds if isinstance(begun, TimesDevice) else None
                return found
        del begun
        return in_parts(
            lambda rows: self._begin(rows)(), self._rows, self._limit, self._what, self._advice
        )


@contextmanager
def loading(what: str, device: str) -> Iterator[None]:
    """A model that does not fit in memory is a `ConfigError` with numbers."""
    try:
        yield
    except Exception as fault:
        if not is_out_of_memory(fault):
            raise
        raise _too_large(what, "the model", wanted_mb(fault), device) from fault


def is_out_of_memory(fault: BaseException | None) -> bool:
    """Whether an allocation failed; also where that is the cause of another exception."""
    while fault is not None:
        if isinstance(fault, MemoryError) or (
            not isinstance(fault, ConfigError) and FAILED.search(str(fault))
        ):
            return True
        fault = fault.__cause__
    return False


def wanted_mb(fault: BaseException | None) -> float | None:
    """What the allocation that failed asked for, where it says so; in MB."""
    while fault is not None:
        if found := WANTED.search(str(fault)):
            number, unit = found.groups()
            return float(number) * UNITS.get(unit.lower(), 1) / 1e6
        fault = fault.__cause__
    return None


def _too_large(
    what: str, part: str, wanted: float | None, device: str, advice: str = ""
) -> ConfigError:
    change = advice or "take a smaller model"
    asked = f", it wanted {wanted:,.0f} MB more" if wanted else ""
    if device == "cuda":
        import torch

        free, total = (count / 1e6 for count in torch.cuda.mem_get_info())
        return ConfigError(
            f"{what}: {part} does not fit in the memory of the GPU{asked}; it has {total:,.0f} MB, "
            f"{free:,.0f} MB of them free; take a GPU with more memory, or {change}"
        )
    limit = _memory_limit()
    granted = f"; granted to this process: {limit / 1e6:,.0f} MB" if limit else ""
    return ConfigError(
        f"{what}: {part} does not fit in memory{asked}{granted}; raise mem_mb of this rule, or "
        f"{change}"
    )


def let_go(device: str) -> None:
    gc.collect()
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()


def _memory_limit() -> int | None:
    """Bytes that Dask gave this worker; None outside of one."""
    from distributed import get_worker

    try:
        worker: Any = get_worker()
    except ValueError:
        return None
    limit: int | None = worker.memory_manager.memory_limit
    return limit


@contextmanager
def _memory_at_most(device: str) -> Iterator[None]:
    """
    Let allocations fail that would bring this worker beyond its share.

    The kernel counts address space, so what is added to it is limited to what is left of the share.
    On a GPU there is no limit: CUDA reserves address space that it never fills.
    """
    limit = _memory_limit() if device == "cpu" else None
    status = Path("/proc/self/status")
    if limit is None or not status.exists():
        yield
        return
    found = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    resident, data = (int(found[name].split()[0]) * 1024 for name in ("VmRSS", "VmData"))
    before = resource.getrlimit(resource.RLIMIT_DATA)
    left = max(0, int(limit * SHARE) - resident)
    resource.setrlimit(resource.RLIMIT_DATA, (_least(data + left, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _least(soft: int, hard: int) -> int:
    return soft if hard == resource.RLIM_INFINITY else min(soft, hard)
