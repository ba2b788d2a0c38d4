"""
Outboxes: the folders that attempts publish from, so that one whose turn is over publishes nothing.

A check before a rename leaves a moment between the two, in which a node may hang for an hour. So an
attempt writes only into a folder of its own, `tmp/<name>.<number>-<token>`, which is made once,
before its lease: whatever others are to see is renamed out of it, and whatever they are no longer
to see is renamed into it. Whoever takes the lease over first empties and removes the outboxes of
those before it, and seals what they append to. A rename or a new file that comes later is refused
by the server (ENOENT, ESTALE), whatever the sleeper's node may have cached.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from sampan.storage.durable import storing

FOLDER = "tmp"
"""Beside the leases, and on the same file system as what is published."""

_NAME = re.compile(r"(?:fenced-)?((.+)\.(\d{6})-([0-9a-f]+))")
_PASSING = (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ESTALE, errno.EBUSY)
"""What removing a folder may meet in which a sleeper, awake again, still makes and moves files."""


def make(folder: Path, name: str, number: int) -> Path:
    """The outbox of a new attempt."""
    path = folder / f"{name}.{number:06d}-{secrets.token_hex(8)}"
    with storing(path):
        folder.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    return path


def last_number(folder: Path, name: str) -> int:
    """The highest number of an attempt at `name` that has an outbox; 0 if none has."""
    return max((number for _, number in _outboxes(folder, name)), default=0)


Seal = Callable[[Path, Path], None]
"""Of a dead attempt's outbox and one's own: what it has open for appending is nobody's from now."""


def nothing_to_seal(dead: Path, own: Path) -> None:
    """Of attempts that append to nothing."""


def fence(own: Path, seal: Seal) -> None:
    """
    See to it that the attempts at the same name before this one publish nothing from now on.

    A dead one's outbox is moved into a folder that says what is going on until it is done, so that
    whoever comes after one that died over this goes on with it. `FileNotFoundError` where this
    attempt is fenced itself.
    """
    match = _NAME.fullmatch(own.name)
    assert match is not None, own
    for stem, number in sorted(_outboxes(own.parent, match[2])):
        if stem == own.name or number > int(match[3]):
            continue
        own.stat()
        begun = own.parent / f"fenced-{stem}"
        with storing(begun):
            begun.mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.rename(own.parent / stem, begun / "outbox")
            is_gone = _remove(begun / "outbox")
        seal(begun, own)
        if is_gone:
            with contextlib.suppress(FileNotFoundError), storing(begun):
                begun.rmdir()


def discard(path: Path, outbox: Path) -> None:
    """Remove a file or folder, if it is there, which an attempt that is fenced cannot."""
    moved = outbox / f"{path.name}.{secrets.token_hex(4)}.partial"
    with storing(path):
        try:
            os.rename(path, moved)
        except FileNotFoundError:
            outbox.stat()
            return
        _remove(moved)


def _outboxes(folder: Path, name: str) -> set[tuple[str, int]]:
    """Name and number of the outboxes of all attempts at `name`, fenced or not."""
    with contextlib.suppress(FileNotFoundError):
        matches = [_NAME.fullmatch(found) for found in os.listdir(folder)]
        return {(m[1], int(m[3])) for m in matches if m and m[2] == name}
    return set()


def _remove(path: Path) -> bool:
    """Remove a file or folder; False where this machine's NFS keeps files that someone has open."""
    while os.path.lexists(path):
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as fault:
            if fault.errno not in _PASSING:
                raise
            if _holds_only_open_files(path):
                return False  # of a process on this machine, which sees that the folder has moved
    return True


def _holds_only_open_files(path: Path) -> bool:
    left = [file for _, _, files in os.walk(path) for file in files]
    return bool(left) and all(file.startswith(".nfs") for file in left)
