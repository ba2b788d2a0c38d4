"""Events as jobs write them, for tests of whoever reads them."""

import logging
from pathlib import Path

from sampan.events import Ended, EpochEnded, Event, Progressed, Started, Worked, events_to, say
from sampan.runs.events import events_of

STARTED = Started(verb="preprocess", version="0.1.0", part=0, threads=2, memory_mb=2048, gpus=0)
FAILED = Ended(outcome="failed", seconds=9.0, faults=("datasets.d: too many",))
ENDED = Ended(outcome="done", seconds=9.0)
STOPPED = Ended(outcome="stopped", seconds=9.0)


def progressed(done: int, per_second: float) -> Progressed:
    return Progressed(
        what="preprocess text@01234567", done=done, total=4096, unit="samples",
        per_second=per_second,
    )  # fmt: skip


def epoch(number: int, seconds: float, epochs: int = 30) -> EpochEnded:
    return EpochEnded(
        epoch=number, epochs=epochs, seconds=seconds, learning_rate=1e-3, train_loss=1.0,
        validation_loss=1.0, metric="accuracy", validation_metric=0.5,
    )  # fmt: skip


def worked(samples: int, seconds: float, **busy: float) -> Worked:
    return Worked(
        what="extract x@01234567 part 0", samples=samples, seconds=seconds, busy=busy,
        busy_seconds=seconds,
    )  # fmt: skip


def write_events(log: Path, *events: Event) -> Path:
    """Appended beside a log, as the job of that log appends them."""
    logging.getLogger("sampan").setLevel(logging.INFO)
    path = events_of(log)
    with events_to(path):
        for event in events:
            say(event)
    return path
