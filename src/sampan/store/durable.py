"""Files that are whole or not there: temporary name, fsync, rename, fsync of the folder."""

import contextlib
import errno
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from sampan.errors import StorageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

log = logging.getLogger(__name__)

PASSING = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EACCES,
        errno.EPERM,
        errno.ENODEV,
        errno.ENOTCONN,
        errno.ENXIO,
        errno.EHOSTDOWN,
        errno.EBUSY,
        errno.EAGAIN,
    }
)
"""What storage says when it, not the data, is in trouble."""


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a `StorageError` that names `path`."""
    try:
        yield
    except OSError as fault:
        raise StorageError(f"{path}: cannot be written: {fault.strerror or fault}") from fault


def fsync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(file: BinaryIO, data: "bytes | NDArray[np.uint8]") -> None:
    """Write to an unbuffered file, which may take fewer bytes at a time."""
    view = memoryview(data)  # type: ignore[arg-type] # mypy does not know numpy's buffers on 3.11
    while view:
        view = view[file.write(view) or 0 :]


def write_bytes(path: Path, data: bytes, outbox: Path | None = None) -> None:
    """
    Replace a file with `data`, atomically and durably; `StorageError` where that fails.

    With an `outbox` that is the way of an attempt whose turn may be over, and which then fails.
    """
    name = f".{path.name}.{secrets.token_hex(4)}.partial"
    temporary = path.with_name(name) if outbox is None else outbox / name
    with storing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb", buffering=0) as file:
                write_all(file, data)
                os.fsync(file.fileno())
            os.replace(temporary, path)
            fsync_folder(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any, outbox: Path | None = None) -> None:
    """Replace a JSON file: sorted keys, one item a line, so that equal content is equal bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode(), outbox)


def read_json(path: Path) -> Any:
    """
    The content of a JSON file that sampan wrote; `StorageError` where it is damaged or missing.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StorageError(f"{path}: is missing") from None
    except OSError as fault:
        raise StorageError(f"{path}: cannot be read: {fault.strerror or fault}") from fault
    except ValueError as fault:
        raise StorageError(f"{path}: is damaged: {fault}") from fault


def patiently(work: Callable[[], T], patience_seconds: float, what: str) -> T:
    """
    Run `work` again and again while storage is in trouble, for `patience_seconds` at most.

    Waits 1, 2, 4, … up to 60 s between tries. Then, or for any other error of the operating system,
    `StorageError`. One that `work` raises is waited for where such an error is its cause.
    """
    start = time.monotonic()
    pause = 1.0
    while True:
        try:
            return work()
        except (OSError, StorageError) as fault:
            waited = time.monotonic() - start
            if not _is_passing(fault) or waited + pause > patience_seconds:
                if isinstance(fault, StorageError) or fault.errno is None:
                    raise
                raise StorageError(
                    f"{what}: {fault.strerror}; gave up after {waited:.0f} s"
                ) from fault
            log.warning("%s: %s; trying again in %.0f s", what, fault, pause)
        time.sleep(pause)
        pause = min(pause * 2, 60.0)


def _is_passing(fault: OSError | StorageError) -> bool:
    cause = fault.__cause__ if isinstance(fault, StorageError) else fault
    return isinstance(cause, OSError) and cause.errno in PASSING
