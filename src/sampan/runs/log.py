"""What the end of a job's log says: how fast it is, whether it stopped or failed, and why."""

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sampan.errors import StorageError

TAIL_BYTES = 8192
READERS = 16
"""Files read at a time; a shared tier answers late, but many at once."""

_OURS = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ ")
_ERROR = re.compile(r'(?:.*: )?error: |Traceback |  File ".*", line \d|.*: command not found$')
_STOPPED = re.compile(r"\bstopped\b|\basked to stop\b")
_PROGRESS = re.compile(r": [\d,]+ of [\d,]+ \w+ \(([\d,]+)/s, \S+ s left\)")
_EPOCH = re.compile(r" epoch (\d+) of (\d+): .*, ([\d.]+) s$")


@dataclass(frozen=True, kw_only=True)
class Log:
    """The last lines of a job's log, and when the last was written, in seconds since 1970."""

    path: Path
    written: float
    lines: tuple[str, ...]

    @property
    def ends_in_error(self) -> bool:
        """An `error:` or a traceback that no line of a job at work follows."""
        ours = [i for i, line in enumerate(self.lines) if _OURS.match(line)]
        return any(_ERROR.match(line) for line in self.lines[ours[-1] + 1 if ours else 0 :])

    @property
    def stopped(self) -> bool:
        """Ended early on purpose, to go on when it is run again."""
        return bool(self.lines) and bool(_STOPPED.search(self.lines[-1]))

    @property
    def samples_per_second(self) -> float | None:
        """What the last line on progress says."""
        found = [match[1] for line in self.lines if (match := _PROGRESS.search(line))]
        return float(found[-1].replace(",", "")) if found else None

    @property
    def seconds_left(self) -> float | None:
        """Of a training: the epochs that are left, as long as the last one each."""
        found = [match for line in self.lines if (match := _EPOCH.search(line))]
        if not found:
            return None
        return (int(found[-1][2]) - int(found[-1][1])) * float(found[-1][3])


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
    return Log(path=path, written=about.st_mtime, lines=kept)


def read_logs(paths: Iterable[Path]) -> list[Log | None]:
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read_log, paths))
