"""
Open what is a plain file and nothing else: a FIFO would be waited for, a device read without end.
"""

import os
import stat
import unicodedata
from collections.abc import Sequence

from sampan.errors import InvalidSample

FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
PLACE = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY) | os.O_CLOEXEC
"""Opens a place in the file system without touching what lies there (Linux)."""
DEEPEST = 64
"""Folders of a path at most whose names are tried in another Unicode form."""

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


def open_plain(path: str, *, follow: bool = True) -> int:
    """
    A descriptor of a regular file, which the caller closes; it never waits for anybody.

    `InvalidSample` where something else lies there; otherwise what the operating system says.
    Without `follow` a link at the end of the path is refused with ELOOP.
    """
    try:
        handle = os.open(path, FLAGS if follow else FLAGS | os.O_NOFOLLOW)
    except OSError:
        _refuse_unless_regular_if_there(path)
        raise
    try:
        refuse_unless_regular(os.fstat(handle))
    except BaseException:
        os.close(handle)
        raise
    return handle


def refuse_unless_regular(about: os.stat_result) -> None:
    """`InvalidSample` that says what lies there instead of a file."""
    if not stat.S_ISREG(about.st_mode):
        kind = KINDS.get(stat.S_IFMT(about.st_mode), "something else")
        raise InvalidSample(f"{kind}, not a file")


def _refuse_unless_regular_if_there(path: str) -> None:
    """A socket or a device without a driver cannot even be opened."""
    try:
        about = os.lstat(path)
    except OSError:
        return
    if not stat.S_ISLNK(about.st_mode):
        refuse_unless_regular(about)


def location(handle: int, path: str) -> str:
    """Where an open file or folder really lies, without any link."""
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        return os.path.realpath(path)


def location_of(path: str) -> str:
    """Where a path leads, without any link; `OSError` where it leads nowhere."""
    handle = os.open(path, PLACE)
    try:
        return location(handle, path)
    finally:
        os.close(handle)


class Bounds:
    """The folders in which a source's files may lie: its root, and those that `allow` names."""

    def __init__(self, root: str, allow: Sequence[str] = ()) -> None:
        self.root = root
        self.allow = tuple(os.path.expanduser(folder) for folder in allow)
        self.inside: set[str] = set()
        """Folders that were found to lie in them."""
        self._prefixes = self._located()

    def _located(self) -> tuple[str, ...]:
        places = []
        for folder in (self.root, *self.allow):
            try:
                places.append(location_of(folder))
            except OSError:
                places.append(os.path.realpath(folder))
        return tuple(place.rstrip("/") + "/" for place in places)

    def hold(self, place: str) -> bool:
        """Whether a place that `location` gave is one of them, or lies within."""
        if f"{place}/".startswith(self._prefixes):
            return True
        self._prefixes = self._located()  # a root may have come, or come back elsewhere
        return f"{place}/".startswith(self._prefixes)

    def base_of(self, path: str) -> str | None:
        """The folder of these that a path names at its beginning."""
        given = (folder.rstrip("/") for folder in (self.root, *self.allow))
        return next((folder for folder in given if path.startswith(f"{folder}/")), None)

    def link_out(self, path: str) -> tuple[str, str] | None:
        """The first link on a path that leads out of them, as the path says it; and where to."""
        found = base = self.base_of(path)
        if found is None or base is None:
            return None
        for name in path[len(base) :].strip("/").split("/"):
            found += f"/{name}"
            if os.path.islink(found) and not self.hold(os.path.realpath(found)):
                return found[len(base) + 1 :], os.path.realpath(found)
        return None


def other_form(base: str, relative: str) -> str | None:
    """The path below `base` that is there and differs in its names' Unicode forms alone."""
    if relative.isascii() or relative.count("/") > DEEPEST:
        return None
    name, _, rest = relative.partition("/")
    forms = (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))
    for path in dict.fromkeys(f"{base}/{form}" for form in forms):
        if not os.path.lexists(path):
            continue
        if not rest or (rest.isascii() and os.path.lexists(f"{path}/{rest}")):
            return f"{path}/{rest}" if rest else path
        if found := other_form(path, rest):
            return found
    return None
