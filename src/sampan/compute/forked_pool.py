"""
Workers that are forked from this process, each for one task at a time.

They are there in milliseconds and have loaded all that this process has. What a fork would break
must not be among it.
"""

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import connection, get_context
from multiprocessing.reduction import ForkingPickler
from typing import Any

from sampan.compute.grant import Grant, Workers
from sampan.compute.pool import Outcome, Pool, Task, WorkerDied
from sampan.compute.stopping import without_signals
from sampan.compute.surroundings import Memory, limit_memory_to, own_folder, variables

LOOK_SECONDS = 0.2
"""How often the children's memory is looked at."""
SHARE = 0.95
"""Of a child's memory at which it is ended; as Dask does."""
NOT_FORKED = ("torch", "onnxruntime", "tensorflow", "jax", "pyvips")
"""Libraries whose threads or devices are not there behind a fork: they hang, or refuse."""
PR_SET_PDEATHSIG = 1
"""Linux, prctl(2): a signal for this process once its parent is dead."""


class _Child:
    """A forked process and the task that it is at."""

    def __init__(self, memory_bytes: int, threads: int, environment: dict[str, str]) -> None:
        import psutil

        context = get_context("fork")
        self.connection, other = context.Pipe()
        self._memory = Memory(memory_bytes, psutil.Process().memory_info().rss)
        self._process = context.Process(
            target=_serve,
            args=(other, os.getpid(), threads, self._memory, environment),
            daemon=True,
        )
        with without_signals():
            self._process.start()
        other.close()  # or the child's end would not be seen
        self._watched = psutil.Process(self._process.pid)
        self.task: Any = None

    def begin(self, work: Callable[[Any], Any], task: Any) -> None:
        self.task = task
        with suppress(BrokenPipeError):  # dead already: whoever waits for its answer is told
            self.connection.send((work, task))

    def end_if_too_large(self) -> None:
        import psutil

        with suppress(psutil.NoSuchProcess):
            taken = self._watched.memory_info().rss - self._memory.inherited_bytes
            if taken > SHARE * self._memory.limit_bytes:
                self._process.kill()

    def outcome(self) -> Outcome:
        try:
            result, fault = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            died = WorkerDied(f"exit status {self._process.exitcode}")
            return Outcome(self.task, fault=died)
        return Outcome(self.task, result, fault)

    def close(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join()


class ForkedPool:
    """A `Pool` of forked processes."""

    def __init__(self, number: int, fork: Callable[[], _Child]) -> None:
        self._number, self._fork = number, fork
        self._idle: list[_Child] = []
        self._busy: dict[Any, _Child] = {}

    def run(
        self,
        work: Callable[[Task], Any],
        tasks: Iterable[Task],
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Outcome]:
        waiting = iter(tasks)

        def begin(most: int) -> None:
            for task in islice(waiting, 0 if stop() else most):
                child = self._idle.pop() if self._idle else self._fork()
                child.begin(work, task)
                self._busy[child.connection] = child

        begin(self._number)
        looked = time.monotonic()
        while self._busy:
            ready = connection.wait(list(self._busy), LOOK_SECONDS)
            if time.monotonic() - looked >= LOOK_SECONDS:
                for child in self._busy.values():
                    child.end_if_too_large()
                looked = time.monotonic()
            for each in ready:
                child = self._busy.pop(each)
                outcome = child.outcome()
                if isinstance(outcome.fault, WorkerDied):
                    child.close()
                else:
                    self._idle.append(child)
                begin(1)
                yield outcome

    def close(self) -> None:
        for child in (*self._idle, *self._busy.values()):
            child.close()


def can_fork(workers: Workers) -> bool:
    """Whether children of this process can do what such workers do."""
    return workers != "gpus" and not any(name in sys.modules for name in NOT_FORKED)


@contextmanager
def children(grant: Grant, workers: Workers) -> Iterator[Pool]:
    """
    A pool of forked processes on the grant: `processes` of one thread, or `one`.

    BLAS, OpenMP and torch get one thread in each, and share the grant in `one`. Signals that ask
    the job to stop do not reach them; they die with their parent.
    """
    number, threads = grant.workers(workers), grant.share(workers)
    memory_bytes = grant.memory_mb * 10**6 // number
    with own_folder() as folder:
        found = variables(threads, folder)
        pool = ForkedPool(number, lambda: _Child(memory_bytes, threads, found))
        try:
            yield pool
        finally:
            pool.close()


def _serve(
    tasks: "connection.Connection",
    parent: int,
    threads: int,
    memory: Memory,
    environment: dict[str, str],
) -> None:
    """In the child: tasks one by one, until there are no more."""
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent gets it too, and ends this
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before this was said
            return
    os.environ.update(environment)
    threadpool_limits(threads)  # what is loaded reads no variables any more
    limit_memory_to(memory)
    while True:
        try:
            work, task = tasks.recv()
        except EOFError:
            return
        result, fault = None, None
        try:
            result = work(task)
        except Exception as raised:
            fault = _to_be_sent(raised)
        tasks.send((result, fault))


def _to_be_sent(fault: Exception) -> Exception:
    """The fault with its traceback as a note; one of its text where it cannot be pickled."""
    fault.add_note("".join(traceback.format_exception(fault)))
    try:
        ForkingPickler.loads(ForkingPickler.dumps(fault))
    except Exception:
        return RuntimeError(fault.__notes__[-1])
    return fault
