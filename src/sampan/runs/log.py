"""The end of a job's log, for people to read."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sampan.errors import StorageError
from sampan.runs.events import READERS, Events, events_of, read_events

TAIL_BYTES = 8192


@dataclass(frozen=True, kw_only=True)
class Log:
    """The last lines of a job's log, when the last was written, and what its events say."""

    path: Path
    written: float
    """In seconds since 1970."""
    lines: tuple[str, ...]
    events: Events | None = None
    """None where none were written: the command itself could not begin."""

    @property
    def failed(self) -> bool:
        """It said so, or never came to say anything."""
        if self.events is None:
            return bool(self.lines)
        ended = self.events.ended
        return ended is not None and ended.outcome == "failed"

    @property
    def stopped(self) -> bool:
        """Ended early on purpose, to go on when it is run again."""
        ended = self.events.ended if self.events else None
        return ended is not None and ended.outcome == "stopped"


def read_log(path: Path) -> Log | None:
    """The end of a log; None where there is none. `StorageError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            file.seek(max(0, about.st_size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise StorageError(f"{path}: cannot be read: {fault.strerror or fault}") from fault
    lines = text.split("\n")[about.st_size > TAIL_BYTES :]  # the first may be cut
    kept = tuple(line.rstrip() for line in lines if line.strip())
    return Log(path=path, written=about.st_mtime, lines=kept, events=read_events(events_of(path)))


def read_logs(paths: Iterable[Path]) -> list[Log | None]:
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read_log, paths))
