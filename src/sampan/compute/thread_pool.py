"""Threads of this process, for work that lets go of Python's lock and that no sample can crash."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import Any

from sampan.compute.grant import Grant
from sampan.compute.pool import Outcome, Pool, Task


class ThreadPool:
    """A `Pool` of threads."""

    def __init__(self, executor: ThreadPoolExecutor, threads: int) -> None:
        self._executor, self._threads = executor, threads

    def run(
        self,
        work: Callable[[Task], Any],
        tasks: Iterable[Task],
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Outcome]:
        waiting = iter(tasks)
        running: dict[Future[Any], Task] = {}

        def begin(most: int) -> None:
            for task in islice(waiting, 0 if stop() else most):
                running[self._executor.submit(work, task)] = task

        begin(self._threads)
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task, fault = running.pop(future), future.exception()
                begin(1)
                if fault is None:
                    yield Outcome(task, future.result())
                elif isinstance(fault, Exception):
                    yield Outcome(task, fault=fault)
                else:
                    raise fault


@contextmanager
def threads(grant: Grant) -> Iterator[Pool]:
    """
    A pool of as many threads as were granted; BLAS, OpenMP and torch keep what they were given when
    this process loaded them.
    """
    with ThreadPoolExecutor(grant.threads, "sampan-work") as executor:
        yield ThreadPool(executor, grant.threads)
