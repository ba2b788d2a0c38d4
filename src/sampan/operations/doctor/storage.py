"""Try in a folder what sampan needs of a file system, and measure what it has."""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sampan.storage.durable import fsync_folder, write_all

BYTES = 2**20


def try_storage(folder: Path, name: str) -> dict[str, Any]:
    """
    Create, fsync, rename, read back, link, refuse to create twice; then clocks and free space.

    Files are named after `name` and removed again. `faults` are the operations that failed.
    """
    found: dict[str, Any] = {"path": str(folder), "faults": []}
    start = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        found["faults"] = [f"cannot be made: {fault.strerror}"]
        return found
    temporary = folder / f".{name}.{secrets.token_hex(4)}.partial"
    final, linked = temporary.with_suffix(".tried"), temporary.with_suffix(".linked")
    try:
        found["faults"] = list(_operations(temporary, final, linked, found))
    finally:
        for path in (temporary, final, linked):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    found["seconds"] = round(time.monotonic() - start, 3)
    return found | _space(folder)


def _operations(temporary: Path, final: Path, linked: Path, found: dict[str, Any]) -> Iterator[str]:
    """What failed, in words; a file that cannot be written ends it."""
    data = secrets.token_bytes(BYTES)
    doing = "create"
    try:
        before = time.time()
        with temporary.open("xb", buffering=0) as file:
            doing = "write"
            write_all(file, data)
            doing = "fsync"
            os.fsync(file.fileno())
        after, stamp = time.time(), temporary.stat().st_mtime
        found["clock_seconds"] = round(max(stamp - after, min(stamp - before, 0.0)), 3)
        doing = "rename"
        os.replace(temporary, final)
        doing = "fsync of the folder"
        fsync_folder(final.parent)
        doing = "read"
        if final.read_bytes() != data:
            yield "read: other bytes came back than were written"
    except OSError as fault:
        yield f"{doing}: {fault.strerror}"
        return
    try:
        os.link(final, linked)
        if not final.samefile(linked):
            yield "hard link: made a copy"
    except OSError as fault:
        yield f"hard link: {fault.strerror}"
    try:
        os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        yield "exclusive creation: a file that exists was created again"
    except FileExistsError:
        pass
    except OSError as fault:
        yield f"exclusive creation: {fault.strerror}"


def _space(folder: Path) -> dict[str, Any]:
    space = os.statvfs(folder)
    return {
        "type": file_system(folder),
        "free_bytes": space.f_bavail * space.f_frsize,
        "free_inodes": space.f_favail if space.f_files else None,
    }


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the file system that holds a path: lustre, nfs4, ext4, …"""
    wanted = path.resolve()
    kind, longest = "", -1
    with contextlib.suppress(OSError):
        for line in mounts.read_text().splitlines():
            _, where, found, *_ = line.split(" ")
            point = Path(where.encode().decode("unicode_escape"))  # a blank is \040
            if wanted.is_relative_to(point) and len(point.parts) >= longest:
                kind, longest = found, len(point.parts)
    return kind
