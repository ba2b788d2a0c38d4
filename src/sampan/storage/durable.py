"""Files that are whole or not there: temporary name, fsync, rename, fsync of the folder."""

import contextlib
import errno
import grp
import json
import logging
import os
import pwd
import secrets
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, overload

import google_crc32c

from sampan.errors import StorageError
from sampan.storage.shape import check_of

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


LASTING = frozenset({errno.EROFS})
"""What no waiting mends, and the user can."""


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """
    Turn an error of the operating system into a `StorageError` that names `path`.

    One that owner and mode of the folder explain has no cause, so that nobody waits for its end.
    """
    try:
        yield
    except OSError as fault:
        if fault.errno in (errno.EACCES, errno.EPERM) and (why := refusal(path)):
            raise StorageError(f"{path}: cannot be written: {why}") from None
        raise StorageError(f"{path}: cannot be written: {fault.strerror or fault}") from fault


def refusal(path: Path) -> str | None:
    """
    Why this user may not write a file or folder, where the nearest folder's owner and mode say it.

    None where they do not: then storage is in trouble, such as a ticket that has run out.
    """
    for place in (path, *path.parents):
        try:
            about = place.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return None
        if not stat.S_ISDIR(about.st_mode):
            continue
        if may_write(about, os.geteuid(), {os.getegid(), *os.getgroups()}):
            return None
        owner, group = _name(pwd.getpwuid, about.st_uid), _name(grp.getgrgid, about.st_gid)
        return (
            f"{place} belongs to {owner}, group {group}, mode {stat.S_IMODE(about.st_mode):04o}; "
            "to share it, its owner gives the group the right to write: see "
            '"Share a results folder" in docs/how-to/look-after-results.md'
        )
    return None


def may_write(about: os.stat_result, user: int, groups: Collection[int]) -> bool:
    """Whether a folder's owner, group and mode let a user make files in it."""
    if user == 0:
        return True
    shift = 6 if about.st_uid == user else 3 if about.st_gid in groups else 0
    return (about.st_mode >> shift) & 0o3 == 0o3


def _name(of: Callable[[int], Any], number: int) -> str:
    with contextlib.suppress(KeyError):
        return str(of(number)[0])
    return str(number)


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


@contextlib.contextmanager
def replacing(path: Path, outbox: Path | None = None) -> Iterator[BinaryIO]:
    """
    A file to write, which replaces `path` at the end of the block, atomically and durably.

    `StorageError` where that fails. With an `outbox` that is the way of an attempt whose turn may
    be over, and which then fails.
    """
    name = f".{path.name}.{secrets.token_hex(4)}.partial"
    temporary = path.with_name(name) if outbox is None else outbox / name
    with storing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            fsync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_bytes(path: Path, data: bytes, outbox: Path | None = None) -> None:
    """Replace a file with `data`, as `replacing` does."""
    with replacing(path, outbox) as file:
        write_all(file, data)


def write_json(path: Path, value: Any, outbox: Path | None = None) -> None:
    """Replace a JSON file: sorted keys, one item a line, so that equal content is equal bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode(), outbox)


CHECKSUM = "crc32c"


def with_checksum(value: dict[str, Any]) -> dict[str, Any]:
    """With a member more, the CRC-32C of all others: of files for which no other file vouches."""
    return value | {CHECKSUM: _sum_of(value)}


def is_as_written(value: Mapping[str, Any]) -> bool:
    """Whether the content is what the checksum was made of, where there is one."""
    return CHECKSUM not in value or value[CHECKSUM] == _sum_of(value)


def _sum_of(value: Mapping[str, Any]) -> str:
    rest = {name: item for name, item in value.items() if name != CHECKSUM}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return f"{google_crc32c.value(text.encode()):08x}"


@overload
def read_json(path: Path) -> Any: ...
@overload
def read_json(path: Path, shape: type[T]) -> T: ...
def read_json(path: Path, shape: Any = object) -> Any:
    """
    The content of a JSON file that sampan wrote, of the `shape` that it is to have.

    `StorageError` where it is missing, damaged or of another shape.
    """
    try:
        data = path.read_bytes()
        value = json.loads(data)
        if b"\\ud" in data.lower():  # half of a pair, which is no text
            json.dumps(value, ensure_ascii=False).encode()
    except FileNotFoundError:
        raise StorageError(f"{path}: is missing") from None
    except OSError as fault:
        raise StorageError(f"{path}: cannot be read: {fault.strerror or fault}") from fault
    except (ValueError, RecursionError) as fault:
        raise StorageError(f"{path}: is damaged: {fault}") from fault
    if wrong := check_of(shape)(value):
        raise StorageError(f"{path}: is damaged: {wrong if ':' in wrong else f'it {wrong}'}")
    return value


PATIENCE_SECONDS = 900.0
"""How long storage may be in trouble before a job fails, unless its flags say otherwise."""


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
                file = str(fault.filename or "")
                place = "" if file in what else f"{file}: "
                raise StorageError(
                    f"{what}: {place}{fault.strerror}; gave up after {waited:.0f} s"
                ) from fault
            log.warning("%s: %s; trying again in %.0f s", what, fault, pause)
        time.sleep(pause)
        pause = min(pause * 2, 60.0)


def _is_passing(fault: OSError | StorageError) -> bool:
    cause = fault.__cause__ if isinstance(fault, StorageError) else fault
    return isinstance(cause, OSError) and cause.errno in PASSING
