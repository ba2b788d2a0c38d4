"""What workers find around them: variables, a folder that is the job's alone, a limit of memory."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sampan.errors import StorageError

THREADS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "GOTO_NUM_THREADS"),
)
COMPILED = "TORCHINDUCTOR_CACHE_DIR"
"""
Where torch keeps what it compiled, and runs it from: by default a folder of a name that anyone can
guess, and make first.
"""


class Memory(NamedTuple):
    """Of a worker."""

    limit_bytes: int
    inherited_bytes: int = 0
    """Which a fork took over from its parent, resident and shared: they do not count."""


_memory: Memory | None = None


def variables(threads: int, folder: Path) -> dict[str, str]:
    """For workers that use so many threads each, in a job whose own folder this is."""
    compiled = os.environ.get(COMPILED, str(folder / "compiled"))
    return dict.fromkeys(THREADS, str(threads)) | {COMPILED: compiled}


def limit_memory_to(memory: Memory) -> None:
    """Say what this process may take, if it is a worker; whoever started it sees to it."""
    global _memory
    _memory = memory


def worker_memory() -> Memory | None:
    """What this worker may take; None in what is none."""
    return _memory


@contextmanager
def own_folder() -> Iterator[Path]:
    """
    A folder in the temporary folder that only this user can open, gone at the end.

    `StorageError` where the temporary folder cannot have such a one.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="sampan-", ignore_cleanup_errors=True)
    except OSError as fault:
        raise StorageError(
            f"{tempfile.gettempdir()}: cannot be written: {fault.strerror or fault}; "
            "set TMPDIR to a folder that can"
        ) from fault
    with made as name:
        if Path(name).stat().st_mode & 0o077:
            raise StorageError(
                f"{name}: is open to other users whatever its mode; set TMPDIR to a folder of a "
                "file system that keeps them out"
            )
        yield Path(name)


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Variables for processes that are started in the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
