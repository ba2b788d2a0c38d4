"""What runs tasks: each has an outcome, whatever becomes of the process that ran it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Task = TypeVar("Task")


class Pool(Protocol):
    """
    Runs tasks and hands back each outcome as it comes.

    No more tasks are handed out than there are threads, so that a worker that dies takes only the
    task with it that killed it.
    """

    def run(
        self,
        work: Callable[[Task], Any],
        tasks: Iterable[Task],
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator["Outcome"]:
        """Each task's outcome, as it comes; once `stop` says so, no more tasks are begun."""
        ...


class WorkerDied(Exception):
    """The process that ran a task died: a crash, a limit of CPU seconds, or memory."""


@dataclass(frozen=True)
class Outcome:
    """A task that ended: its result, or the exception that ended it."""

    task: Any
    result: Any = None
    fault: Exception | None = None
