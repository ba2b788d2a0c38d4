"""The time that a job has at its work: until it is asked to stop, or taken for dead by others."""

import shutil
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from sampan.compute.stopping import Stop, StoppedEarly, stop_signals
from sampan.errors import StorageError
from sampan.events import Waited, say
from sampan.storage import outbox
from sampan.storage.durable import patiently
from sampan.storage.lease import Attempt, Lease, Lost
from sampan.store import ledger


class Turn:
    """
    A job's time at its work, which ends when it is asked to stop, or taken for dead by others.

    Without a lease, for work that is nobody else's, it never ends; its outbox goes with it.
    """

    def __init__(self, stop: Stop | None = None, lease: Lease | None = None) -> None:
        self._stop = Stop() if stop is None else stop
        self._lease = lease

    def outbox(self, stage: Path) -> Path:
        """The folder that whatever this job makes of a stage is published from."""
        if self._lease is not None:
            assert self._lease.outbox is not None
            return self._lease.outbox
        made = outbox.make(stage / outbox.FOLDER, "alone", 0)
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        return made

    def is_over(self) -> bool:
        return bool(self._stop) or (self._lease is not None and self._lease.lost)

    def check(self, what: str, *, to_record: bool = False) -> None:
        """`StoppedEarly` if it is over; `to_record` what was made, if nobody else makes it."""
        if not to_record:
            self._stop.check(what)
        try:
            if self._lease is not None:
                self._lease.check()
        except Lost as fault:
            raise _taken_for_dead(what) from fault


@contextmanager
def take_turn(folder: Path, name: str, what: str, patience_seconds: float) -> Iterator[Turn]:
    """
    Wait until no other attempt is at work on `name`; from here on signals to stop are noted.

    `StoppedEarly` where the signal comes while it waits, and where others took this attempt for
    dead, whatever its work ends with: nothing that it still does can be seen.
    """
    said = 0.0

    def waiting(holder: Attempt) -> None:
        nonlocal said
        stop.check(what)
        if time.monotonic() - said > 60:
            said = time.monotonic()
            say(Waited(what=what, holder=str(holder)))

    with stop_signals() as stop, ExitStack() as stack:
        lease = Lease(
            folder,
            name,
            waiting,
            folder.parent / outbox.FOLDER,
            partial(ledger.seal, folder.parent / "ledger"),
        )
        enter = partial(stack.enter_context, lease)
        try:
            held = Turn(stop, patiently(enter, patience_seconds, what))
        except Lost as fault:
            raise _taken_for_dead(what) from fault
        try:
            yield held
        except (OSError, StorageError):
            held.check(what, to_record=True)
            raise


def _taken_for_dead(what: str) -> StoppedEarly:
    return StoppedEarly(f"{what}: taken for dead; another attempt goes on")
