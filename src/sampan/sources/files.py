"""
Source bytes of samples, with bad storage told apart from bad data.

A file that is missing while its folder can be seen is bad data. A folder that is gone, or an error
such as EIO or ESTALE, is bad storage: it is waited for, and then fails the job.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sampan.errors import InvalidSample
from sampan.sources.opening import (
    FLAGS,
    PLACE,
    Bounds,
    location,
    location_of,
    open_plain,
    other_form,
    refuse_unless_regular,
)
from sampan.storage.durable import patiently

TRIES = 3
"""How often a file is read that changes while it is read."""
AT_ONCE = 2**30
"""Bytes that are asked for at a time at most."""
PIECE = 2**22
"""Of what is more, or less, than the file said it was."""
OTHER_FORM = "found under another Unicode form of its name"
PICTURES = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR")
"""How JPEG, PNG, GIF, and WebP or WAV begin in base64."""


class Content(NamedTuple):
    """The bytes of one sample's source, and what to count of how they were found."""

    data: bytes
    notes: tuple[str, ...] = ()


class MissingFile(InvalidSample):
    """No file lies at `path`: a verdict on the sample, unless storage is away."""

    def __init__(self, reason: str, path: str) -> None:
        super().__init__(reason)
        self.path = path


class DeniedFile(InvalidSample):
    """The file at `path` may not be read: a verdict on the sample, unless most may not."""

    def __init__(self, reason: str, path: str) -> None:
        super().__init__(reason)
        self.path = path


@dataclass
class SampleFiles:
    """
    Reads the files that a table's cells name.

    A cell is a path relative to its table's root; a URL, or one that climbs out, is refused. So is
    a file that lies elsewhere because a link leads there or the path is absolute, unless `allow`
    (one list for each root) names a folder above it. `witnesses` remembers a file of each folder
    that could be read: where it is gone too, the folder is in trouble, not the sample.
    """

    roots: list[Path]
    max_bytes: int
    patience_seconds: float
    allow: Sequence[Sequence[str]] = ()
    witnesses: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        allow = self.allow or [()] * len(self.roots)
        self._bounds = [Bounds(str(r), a) for r, a in zip(self.roots, allow, strict=True)]

    def read(self, source: int, cell: str) -> Content:
        """`InvalidSample` where the file has no content to give, `StorageError` after patience."""
        bounds = self._bounds[source]
        base, relative = _parted(cell, bounds)
        path = f"{base}/{relative}"
        return patiently(
            lambda: self._read(path, base, relative, bounds), self.patience_seconds, path
        )

    def size(self, source: int, cell: str) -> int:
        """Bytes of the file, which is not read; what goes wrong is as with `read`."""
        bounds = self._bounds[source]
        path = "/".join(_parted(cell, bounds))
        handle = patiently(lambda: self._opened(path, bounds), self.patience_seconds, path)
        try:
            return os.fstat(handle).st_size
        finally:
            os.close(handle)

    def _read(self, path: str, base: str, relative: str, bounds: Bounds) -> Content:
        try:
            return Content(self._content(path, bounds))
        except MissingFile:
            found = other_form(base, relative)
            if found is None or found == path:
                raise
            return Content(self._content(found, bounds), (OTHER_FORM,))

    def _content(self, path: str, bounds: Bounds) -> bytes:
        handle = self._opened(path, bounds)
        try:
            data = _whole(handle, self.max_bytes)
        finally:
            os.close(handle)
        self.witnesses[path.rpartition("/")[0]] = path
        return data

    def _opened(self, path: str, bounds: Bounds) -> int:
        """A descriptor of a plain file within the bounds."""
        try:
            folder = path.rpartition("/")[0]
            if folder not in bounds.inside:
                if not bounds.hold(location_of(folder or "/")):
                    raise _outside(path, bounds)
                bounds.inside.add(folder)
            return _open_within(path, bounds)
        except (FileNotFoundError, NotADirectoryError) as fault:
            raise self._missing(path, bounds, fault) from None
        except PermissionError:
            if not os.access(bounds.base_of(path) or "/", os.R_OK | os.X_OK):
                raise  # nobody's file can be read: storage, or a ticket that ran out
            raise DeniedFile("permission denied: this job's user may not read it", path) from None
        except OSError as fault:
            if fault.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.EILSEQ):
                raise InvalidSample(f"unusable path: {fault.strerror}") from None
            raise
        except ValueError as fault:
            raise InvalidSample(f"unusable path: {fault}") from None

    def _missing(self, path: str, bounds: Bounds, fault: OSError) -> InvalidSample:
        if isinstance(fault, NotADirectoryError):
            return InvalidSample("missing file: what should be its folder is a file")
        target = os.path.realpath(path)
        if not bounds.hold(target):
            return _outside(path, bounds)
        if os.path.islink(path):
            return MissingFile(f"missing file: a link to {target}, which is not there", target)
        self._refuse_if_storage_is_gone(Path(path))
        if "\\" in path.rpartition("/")[2]:
            return MissingFile("missing file: folders are parted by /, not by \\", path)
        return MissingFile("missing file", path)

    def _refuse_if_storage_is_gone(self, path: Path) -> None:
        witness = self.witnesses.get(str(path.parent))
        if witness is not None and not Path(witness).exists():
            raise OSError(errno.ENODEV, f"the folder {path.parent} has lost its files")
        for root in self.roots:
            if root in path.parents and not root.is_dir():
                raise OSError(errno.ENODEV, f"the folder {root} is gone")


def missing_folders(paths: Iterable[str]) -> bool:
    """Whether folders of these missing files are missing too, hold nothing, or cannot be read."""
    folders = {Path(path).parent for path in paths}
    try:
        return any(not folder.is_dir() or not any(folder.iterdir()) for folder in folders)
    except OSError:
        return True


# Opening ------------------------------------------------------------------------------------------


def _open_within(path: str, bounds: Bounds) -> int:
    try:
        handle = open_plain(path, follow=False)
    except OSError as fault:
        if fault.errno == errno.ELOOP and os.path.islink(path):
            return _open_link(path, bounds)
        raise
    if not bounds.hold(location(handle, path)):  # a folder was replaced since it was looked at
        os.close(handle)
        raise _outside(path, bounds)
    return handle


def _open_link(path: str, bounds: Bounds) -> int:
    """What a link leads to is looked at before it is opened: that alone may do something."""
    place = os.open(path, PLACE)
    try:
        target = location(place, path)
        if not bounds.hold(target):
            raise _outside(path, bounds)
        refuse_unless_regular(os.fstat(place))
        again = f"/proc/self/fd/{place}"
        return os.open(again if os.path.exists(again) else target, FLAGS)
    finally:
        os.close(place)


def _outside(path: str, bounds: Bounds) -> InvalidSample:
    """The verdict on a path that leads out of the bounds, which names what would let it."""
    if bounds.base_of(path) is None:
        return _absolute(path)
    found = bounds.link_out(path)
    if found is None:
        raise OSError(errno.ENODEV, f"{path} moved while it was opened")
    link, target = found
    folder = target if os.path.isdir(target) else os.path.dirname(target)
    return InvalidSample(
        "link out of the source's folders, see allow: "
        f"{link} leads to {target}; allow: [{folder}] on the source lets it be read"
    )


def _absolute(path: str) -> InvalidSample:
    return InvalidSample(
        f"absolute path, see allow: allow: [{os.path.dirname(path)}] on the source lets it be read"
    )


# Reading ------------------------------------------------------------------------------------------


def _whole(handle: int, max_bytes: int) -> bytes:
    """All bytes of an open file; `InvalidSample` where there are too many, or they do not rest."""
    sizes: list[int] = []
    for _ in range(TRIES):
        about = os.fstat(handle)
        if about.st_size > max_bytes:
            raise InvalidSample(
                f"file too large: {about.st_size:,} bytes; max_bytes is {max_bytes:,}"
            )
        try:
            data = _rest(handle, about.st_size + 1, max_bytes + 1)
        except OSError as fault:
            if about.st_size == 0 and fault.errno in (errno.EAGAIN, errno.EIO, errno.EINVAL):
                raise InvalidSample(f"not a plain file: {fault.strerror}") from None
            if fault.errno != errno.EAGAIN or os.get_blocking(handle):
                raise
            os.set_blocking(handle, True)  # a file that storage has to fetch first
            os.lseek(handle, 0, os.SEEK_SET)
            continue
        if len(data) == about.st_size:
            return data
        if len(data) > max_bytes:
            raise InvalidSample(f"file too large: above max_bytes, {max_bytes:,}")
        after = os.fstat(handle)
        if (after.st_size, after.st_mtime_ns) == (about.st_size, about.st_mtime_ns):
            return data  # of a file system that does not tell sizes, such as /proc
        sizes.append(len(data))
        os.lseek(handle, 0, os.SEEK_SET)
    shown = ", then ".join(f"{size:,}" for size in sizes)
    raise InvalidSample(f"it changes while it is read: {shown} bytes")


def _rest(handle: int, expected: int, most: int) -> bytes:
    """Up to `most` bytes, at first as many as are expected, until there are no more."""
    first = os.read(handle, min(expected, AT_ONCE))
    if len(first) < expected - 1 or len(first) == expected:
        pieces, left = [first], most - len(first)
        while left > 0 and (piece := os.read(handle, min(left, PIECE))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
    return first


def _parted(cell: str, bounds: Bounds) -> tuple[str, str]:
    """The folder that a cell is relative to, and the rest of its path."""
    if "\0" in cell:
        raise InvalidSample("unusable path: it has a NUL byte")
    if cell.startswith("data:") and "," in cell[:256]:
        raise InvalidSample("a data: URI, not a path: set cell: base64 for this modality")
    if len(cell) > 255 and cell.startswith(PICTURES) and "." not in cell[:255]:
        raise InvalidSample("base64, not a path: set cell: base64 for this modality")
    if "://" in cell:
        raise InvalidSample("a URL, not a path: download it first")
    parts = cell.split("/")
    if ".." in parts:
        raise InvalidSample("path leaves its folder: set the source's root")
    relative = "/".join(part for part in parts if part not in ("", "."))
    if not cell.startswith("/"):
        return bounds.root.rstrip("/"), relative
    if not bounds.allow:
        raise _absolute(f"/{relative}")
    return "", relative
