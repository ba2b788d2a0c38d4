"""
Allocations that fail: known by what libraries say, told with numbers, and made to fail in time.

An allocation that fails is an answer; a process that is killed for its memory is
none. So work on the CPU runs under a limit that is reached first.
"""

import gc
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sampan.compute import worker_memory
from sampan.errors import ConfigError

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
"""Of a worker's memory that its work may bring it to; it is killed at 0.95."""


@contextmanager
def explain_large_model(what: str, device: str) -> Iterator[None]:
    """A model that does not fit in memory is a `ConfigError` with numbers."""
    try:
        yield
    except Exception as fault:
        if not is_out_of_memory(fault):
            raise
        raise too_large(what, "the model", wanted_mb(fault), device) from fault


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


def too_large(
    what: str, part: str, wanted: float | None, device: str, advice: str = ""
) -> ConfigError:
    """What to tell of a `part` of the work that does not fit; `advice` says what to change."""
    change = advice or "take a smaller model"
    asked = f", it wanted {wanted:,.0f} MB more" if wanted else ""
    if device == "cuda":
        import torch

        free, total = (count / 1e6 for count in torch.cuda.mem_get_info())
        return ConfigError(
            f"{what}: {part} does not fit in the memory of the GPU{asked}; it has {total:,.0f} MB, "
            f"{free:,.0f} MB of them free; take a GPU with more memory, or {change}"
        )
    memory = worker_memory()
    granted = f"; granted to this process: {memory.limit_bytes / 1e6:,.0f} MB" if memory else ""
    return ConfigError(
        f"{what}: {part} does not fit in memory{asked}{granted}; raise mem_mb of this rule, or "
        f"{change}"
    )


def free_memory(device: str) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()


@contextmanager
def limit_memory(device: str) -> Iterator[None]:
    """
    Let allocations fail that would bring this worker beyond its share.

    The kernel counts address space, so what is added to it is limited to what is left of the share.
    On a GPU there is no limit: CUDA reserves address space that it never fills.
    """
    memory = worker_memory() if device == "cpu" else None
    status = Path("/proc/self/status")
    if memory is None or not status.exists():
        yield
        return
    found = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    resident, data = (int(found[name].split()[0]) * 1024 for name in ("VmRSS", "VmData"))
    before = resource.getrlimit(resource.RLIMIT_DATA)
    left = max(0, int(memory.limit_bytes * SHARE) - (resident - memory.inherited_bytes))
    resource.setrlimit(resource.RLIMIT_DATA, (_least(data + left, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _least(soft: int, hard: int) -> int:
    return soft if hard == resource.RLIM_INFINITY else min(soft, hard)
