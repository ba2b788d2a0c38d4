"""
Leases: one attempt at a time works on a thing, and the others can tell that it is alive.

Two attempts at one partition happen: Snakemake was killed and started again while its old jobs run
on, or a node that was given up for lost comes back. Both would give the same bytes; a lease keeps
them from doing the work twice.

Each attempt at `name` creates `<name>.<number>.json`, the next number that is free (exclusive
creation), and touches it every ten seconds. The lowest number that is alive holds the lease, the
others wait. An attempt is dead if its file was not touched for two minutes, or if its process is
gone, where that can be seen. Ages are differences of the files' own times, so that only heartbeats
need clocks that agree. One that was taken for dead and wakes up can publish nothing: its outbox is
gone.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict

from sampan.errors import StorageError
from sampan.storage import outbox as outbox_module
from sampan.storage.durable import storing
from sampan.storage.shape import check_of

BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0


class Holder(TypedDict):
    """A file of a folder of leases: who holds the lease, or waits for it."""

    host: str
    process: str
    job: str
    since: float


_is_said = check_of(Holder)
_PROCESS = re.compile(r"(\S+ \S+ \d{1,18} \d+)?")
_NAME = re.compile(r"(.+)\.(\d{6})\.json")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt that holds a lease or waits for it."""

    name: str
    number: int
    path: Path
    touched: float
    """Time of its last heartbeat, in seconds since 1970."""
    age_seconds: float
    """Since then."""
    host: str = ""
    process: str = ""
    job: str = ""
    """Slurm's number of its job, if it runs in one."""
    since: float = 0.0
    """When it began, in seconds since 1970."""

    @property
    def alive(self) -> bool:
        return self.age_seconds < STALE_SECONDS and not _is_gone(self.process)

    @property
    def at_work_here(self) -> bool:
        """Whether its process is seen to run, on this machine."""
        return bool(self.process) and _process(_number(self.process)) == self.process

    def __str__(self) -> str:
        job = f", Slurm job {self.job}" if self.job else ""
        return f"{self.host or 'an unknown host'}{job}, heartbeat {self.age_seconds:.0f} s ago"


def attempts(folder: Path, now: float | None = None, name: str | None = None) -> list[Attempt]:
    """
    All attempts at a name, or at all names of a folder, in the order of their numbers.

    Files of other names are not looked at. None if there is no such folder.
    """
    now = time.time() if now is None else now
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            with contextlib.suppress(FileNotFoundError):  # released since it was listed
                if match and name in (None, match[1]):
                    touched = entry.stat().st_mtime
                    found.append(
                        Attempt(
                            name=match[1],
                            number=int(match[2]),
                            path=Path(entry.path),
                            touched=touched,
                            age_seconds=max(0.0, now - touched),
                            **_read(Path(entry.path)),
                        )
                    )
    return sorted(found, key=lambda attempt: attempt.number)


def _read(path: Path) -> dict[str, Any]:
    """What an attempt says of itself; nothing where it has not finished saying it."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError):
        return {}
    if _is_said(value) or not _PROCESS.fullmatch(value["process"]):
        return {}
    return {key: value[key] for key in ("host", "process", "job", "since")}


class Lost(Exception):
    """Others took this attempt for dead; what it has not recorded yet is theirs to make."""


class Lease:
    """
    One attempt's lease of `name`; a context manager that waits until it holds it.

    `waiting` is called with the holder about once a second, and may raise to stand aside. While it
    is held, a thread touches the file. `StorageError` where the file cannot be made. An attempt
    that is to publish something has an outbox in the folder `outboxes`, and gives `seal`, which
    sees to it that dead attempts append to nothing any more.
    """

    outbox: Path | None = None

    def __init__(
        self,
        folder: Path,
        name: str,
        waiting: Callable[[Attempt], None] = lambda holder: None,
        outboxes: Path | None = None,
        seal: outbox_module.Seal = outbox_module.nothing_to_seal,
    ) -> None:
        self._folder, self._name, self._waiting = folder, name, waiting
        self._outboxes, self._seal = outboxes, seal
        self._path = folder
        self._file = -1
        self._number = 0
        self._ended = threading.Event()
        self.lost = False
        """Whether others took this attempt for dead, as of the last heartbeat."""

    def __enter__(self) -> Self:
        with storing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._register()
        threading.Thread(target=self._beat, name=f"lease {self._name}", daemon=True).start()
        try:
            while (holder := self._before_us()) is not None:
                self._waiting(holder)
                time.sleep(1)
                self.check()
            self._fence()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _fence(self) -> None:
        """Let those that held it before publish nothing more."""
        if self.outbox is not None:
            try:
                outbox_module.fence(self.outbox, self._seal)
            except (OSError, StorageError):
                self.check()
                raise
        self.check()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._remove_outbox()
        with contextlib.suppress(OSError):
            if self._is_ours():
                self._path.unlink(missing_ok=True)
            os.close(self._file)

    def check(self) -> None:
        """`Lost` where others took this attempt for dead."""
        self._touch()
        if self.lost:
            raise Lost(f"{self._path}: taken over")

    def _register(self) -> None:
        """
        Take the next free number.

        Whoever finds a higher number beside the one that it has just taken was slow between
        looking and taking: that one may hold the lease already, so it tries again.
        """
        about = json.dumps(
            {
                "host": socket.gethostname(),
                "process": _process(os.getpid()),
                "job": os.environ.get("SLURM_JOB_ID", ""),
                "since": time.time(),
            }
        )
        while True:
            self._number = 1 + max((other.number for other in self._others()), default=0)
            if self._outboxes is not None:  # before the lease: whoever sees that fences this
                last = outbox_module.last_number(self._outboxes, self._name)
                self._number = max(self._number, last + 1)
                self.outbox = outbox_module.make(self._outboxes, self._name, self._number)
            self._path = self._folder / f"{self._name}.{self._number:06d}.json"
            try:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                self._remove_outbox()
                continue
            with contextlib.suppress(OSError):  # on a full disk it counts without its content
                os.write(self._file, about.encode())
            if all(other.number < self._number for other in self._others()):
                return
            self._remove_outbox()
            self._path.unlink(missing_ok=True)
            os.close(self._file)

    def _remove_outbox(self) -> None:
        if self.outbox is not None:
            shutil.rmtree(self.outbox, ignore_errors=True)

    def _others(self) -> list[Attempt]:
        try:
            now = self._path.stat().st_mtime if self._number else time.time()
        except OSError:
            now = time.time()
        found = attempts(self._folder, now, self._name)
        return [other for other in found if other.path != self._path]

    def _before_us(self) -> Attempt | None:
        """The attempt to wait for; the dead among those before it are removed."""
        self._touch()
        for other in self._others():
            if other.number > self._number:
                break
            if other.alive:
                return other
            other.path.unlink(missing_ok=True)
        return None

    def _beat(self) -> None:
        while not self.lost and not self._ended.wait(BEAT_SECONDS):
            self._touch()

    def _touch(self) -> None:
        """A heartbeat. It takes no space, so that a full disk makes nobody look dead."""
        try:
            os.utime(self._file)
            self.lost = self.lost or not self._is_ours() or self._is_fenced()
        except OSError as fault:  # any other is storage in trouble, which all see alike
            self.lost = self.lost or fault.errno == errno.ESTALE

    def _is_fenced(self) -> bool:
        return self.outbox is not None and not self.outbox.is_dir()

    def _is_ours(self) -> bool:
        """Whether the file of our name is still the one that we made."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            return False


def _process(pid: int) -> str:
    """What no other process ever is: this boot, the namespace of process numbers, its start."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if stat[0] == "Z" else f"{boot} {space} {pid} {stat[19]}"


def _number(process: str) -> int:
    return int(process.split()[2])


def _is_gone(process: str) -> bool:
    """Whether a process of this boot and namespace has ended; False where that cannot be seen."""
    ours, theirs = _process(os.getpid()).split(), process.split()
    if len(theirs) != 4 or theirs[:2] != ours[:2]:
        return False
    return _process(_number(process)) != process
