"""Bare loops in several processes at once: the bounds that a job is held against."""

import multiprocessing as mp
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORKERS = 2

Decode = Callable[[bytes], Any]


def decoded(make: Callable[[], Decode], files: list[Path], rows: int) -> float:
    """
    Seconds in which `WORKERS` processes decode `rows` files in memory, over and over, and keep
    nothing. `make`, a function of a module, gives what decodes one.
    """
    context = mp.get_context("spawn")
    ready, go = context.Barrier(WORKERS + 1), context.Barrier(WORKERS + 1)
    workers = [
        context.Process(target=_worker, args=(make, files, rows // WORKERS, ready, go))
        for _ in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    go.wait()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return time.perf_counter() - began


def _worker(make: Callable[[], Decode], files: list[Path], rows: int, ready: Any, go: Any) -> None:
    contents = [path.read_bytes() for path in files]
    decode = make()
    for data in contents[:20]:
        decode(data)
    ready.wait()
    go.wait()
    for row in range(rows):
        decode(contents[row % len(contents)])
    os._exit(0)  # what ends with the process is none of the work
