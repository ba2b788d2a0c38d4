"""What jobs wrote of themselves, read again: the last attempt's events of each."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sampan.errors import StorageError
from sampan.events import EVENTS, Ended, EpochEnded, Event, Progressed, Started, Worked

TAIL_BYTES = 64 * 1024
"""Of a file that is read from its end; a line is about 200 bytes."""
READERS = 16
"""Files read at a time; a shared tier answers late, but many at once."""

E = TypeVar("E", bound=Event)


class Said(NamedTuple):
    """An event, and when it happened, in seconds since 1970."""

    event: Event
    time: float


class Events(NamedTuple):
    """What the last attempt at a job said of itself, in order."""

    said: Sequence[Said]

    def last(self, kind: type[E]) -> E | None:
        found = (said.event for said in reversed(self.said))
        return next((event for event in found if isinstance(event, kind)), None)

    @property
    def ended(self) -> Ended | None:
        """None where it is at work, or was killed."""
        return self.last(Ended)

    @property
    def worked(self) -> Worked | None:
        return self.last(Worked)

    @property
    def samples_per_second(self) -> float | None:
        found = self.last(Progressed)
        return found.per_second if found else None

    @property
    def seconds_left(self) -> float | None:
        """Of a training: the epochs that are left, as long as the last one each."""
        found = self.last(EpochEnded)
        return (found.epochs - found.epoch) * found.seconds if found else None

    @property
    def latest(self) -> float | None:
        """When something was said last, in seconds since 1970."""
        return self.said[-1].time if self.said else None


def read_events(path: Path) -> Events | None:
    """None where there is no such file; `StorageError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).split(b"\n")
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise StorageError(f"{path}: cannot be read: {fault.strerror or fault}") from fault
    said = list(_parsed(lines))
    starts = [i for i, each in enumerate(said) if isinstance(each.event, Started)]
    return Events(said[starts[-1] if starts else 0 :])


def read_all(paths: Iterable[Path]) -> list[Events | None]:
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read_events, paths))


def _parsed(lines: Iterable[bytes]) -> Iterator[Said]:
    """Those that are whole, and of a kind that is known."""
    for line in lines:
        try:
            value: dict[str, Any] = json.loads(line)
            kind = EVENTS[value.pop("event")]
            time = datetime.fromisoformat(value.pop("time")).timestamp()
            yield Said(kind(**value), time)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue


def events_of(log: Path) -> Path:
    """The file of a job's events, beside its log."""
    return log.with_suffix(".events.jsonl")
