"""
What happens in a job, for programs to read: `….events.jsonl` beside its log.

Each event is said to the log as a line for people, which may be reworded, and written as a line of
JSON with its fields: `{"event": "worked", "time": "2026-01-31T12:00:00.123+00:00", "samples": …}`.
Attempts at a job follow one another in one file, each from its `started` on; a line that a kill has
torn is skipped. An event that cannot be written is no reason for a job to fail.
"""

import dataclasses
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

log = logging.getLogger("sampan")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened; as text it is a line of the log."""

    name: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """A process begins to work; `verb` is its command, `part` its partition if it has one."""

    name: ClassVar[str] = "started"

    verb: str
    version: str
    """Of sampan."""
    part: int | None = None
    threads: int | None = None
    memory_mb: int | None = None
    gpus: int | None = None
    """Granted, where the command says it."""

    def __str__(self) -> str:
        return f"{self.verb}: sampan {self.version}"


@dataclass(frozen=True, kw_only=True)
class Planned(Event):
    """Which shards of a partition are to be made, and which were there."""

    name: ClassVar[str] = "planned"

    what: str
    shards: int
    adopted: int
    samples: int
    """Of the shards that are to be made."""

    def __str__(self) -> str:
        return f"{self.what}: {self.shards} shards to make, {self.adopted} adopted"


@dataclass(frozen=True, kw_only=True)
class Progressed(Event):
    """How far work is; every ten seconds at most."""

    name: ClassVar[str] = "progressed"

    what: str
    done: int
    total: int | None
    """None where it is not known beforehand."""
    unit: str
    per_second: float

    def __str__(self) -> str:
        if self.total is None:
            return f"{self.what}: {self.done:,} {self.unit} ({self.per_second:,.0f}/s)"
        left = (self.total - self.done) / self.per_second if self.per_second else float("inf")
        return (
            f"{self.what}: {self.done:,} of {self.total:,} {self.unit} "
            f"({self.per_second:,.0f}/s, {left:,.0f} s left)"
        )


@dataclass(frozen=True, kw_only=True)
class Worked(Event):
    """Work on samples has ended; the start of a process and its imports are no part of it."""

    name: ClassVar[str] = "worked"

    what: str
    samples: int
    seconds: float
    busy: Mapping[str, float] = field(default_factory=dict)
    """Stage → share of 0 to 1 of the time in which its threads were at work; `wait` is that of the
    thread that encodes or writes, for data."""
    busy_seconds: float = 0.0
    """That the shares are of."""

    def __str__(self) -> str:
        rate = self.samples / self.seconds if self.seconds else 0.0
        said = f"{self.what}: {self.samples:,} samples in {self.seconds:.1f} s ({rate:,.0f}/s)"
        return "; ".join([said, *self._shares()])

    def _shares(self) -> Iterator[str]:
        if self.busy:
            who = "encoder" if "encode" in self.busy else "writer"
            stages = ", ".join(f"{n} {share:.0%}" for n, share in self.busy.items() if n != "wait")
            waited = f"{self.busy.get('wait', 0.0):.0%}"
            said = f"the {who} waited {waited} of the time for data; {stages}"
            yield f"{said} of {self.busy_seconds:.1f} s".replace("%", " %")


@dataclass(frozen=True, kw_only=True)
class EpochEnded(Event):
    """One epoch of a training."""

    name: ClassVar[str] = "epoch_ended"

    epoch: int
    """From 1."""
    epochs: int
    """At most."""
    seconds: float
    learning_rate: float
    """Of its last step."""
    train_loss: float
    validation_loss: float
    metric: str
    validation_metric: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch} of {self.epochs}: train loss {self.train_loss:.4f}, "
            f"validation loss {self.validation_loss:.4f}, "
            f"{self.metric} {self.validation_metric:.4f}, "
            f"learning rate {self.learning_rate:.2e}, {self.seconds:.1f} s"
        )


@dataclass(frozen=True, kw_only=True)
class Waited(Event):
    """Another attempt is at the same work."""

    name: ClassVar[str] = "waited"

    what: str
    holder: str

    def __str__(self) -> str:
        return f"{self.what}: waits for the attempt on {self.holder}"


@dataclass(frozen=True, kw_only=True)
class CulpritFound(Event):
    """A sample that kills its worker."""

    name: ClassVar[str] = "culprit_found"

    row: int
    """Of the dataset."""
    reason: str

    def __str__(self) -> str:
        return f"row {self.row} {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Ended(Event):
    """The process ends; none of this where it was killed."""

    name: ClassVar[str] = "ended"

    outcome: Literal["done", "stopped", "failed"]
    """`stopped`: early and on purpose, to go on when it is run again."""
    seconds: float
    """Since it started."""
    faults: tuple[str, ...] = ()
    """Why it failed: the lines that begin with `error:`, or the last of a traceback."""

    def __str__(self) -> str:
        return f"{self.outcome} after {self.seconds:.1f} s"


EVENTS: Mapping[str, type[Event]] = {
    kind.name: kind
    for kind in (
        *(Started, Planned, Progressed, Worked),
        *(EpochEnded, Waited, CulpritFound, Ended),
    )
}


def say(event: Event, level: int = logging.INFO) -> None:
    """Log an event, and write it where this process writes events."""
    log.log(level, "%s", event, extra={"event": event})


class EventFile(logging.Handler):
    """Appends what is said to a file; a fault of the file ends that, and is a line of the log."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: Any = None
        self._is_broken = False

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if not isinstance(event, Event) or self._is_broken:
            return
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"event": event.name, "time": time} | dataclasses.asdict(event)
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a+b", buffering=0)
                self._end_torn_line()
            self._file.write(json.dumps(_rounded(line), ensure_ascii=False).encode() + b"\n")
        except OSError as fault:
            self._is_broken = True
            log.warning("%s: events cannot be written: %s", self._path, fault.strerror or fault)

    def _end_torn_line(self) -> None:
        if size := self._file.seek(0, os.SEEK_END):
            self._file.seek(size - 1)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return round(value, 6) if isinstance(value, float) else value


@contextmanager
def events_to(path: Path | None) -> Iterator[None]:
    """What is said in the block goes to this file too, if there is one."""
    if path is None:
        yield
        return
    handler = EventFile(path)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
