"""
Dask on the threads, memory and GPUs that were granted to a job.

One task a shard. Workers are threads of this process, or nanny processes with one thread each that
die alone; everything is bound to loopback. Nothing here knows what a task does.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sampan.errors import ConfigError

Task = TypeVar("Task")
Workers = Literal["threads", "processes", "one"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What Snakemake gave this job."""

    threads: int
    memory_mb: int
    gpus: int = 0

    def need(self, memory_mb: int, what: str) -> None:
        """Stop with numbers where the memory granted is less than the work needs."""
        if memory_mb > self.memory_mb:
            raise ConfigError(
                f"{what}: needs {memory_mb:,} MB of memory with {self.threads} threads; granted: "
                f"{self.memory_mb:,} MB; raise mem_mb of this rule or lower its threads"
            )

    def device(self, wanted: str) -> str:
        """The device for an encoder or a model: a granted GPU that torch cannot use is an error."""
        if wanted == "cpu" or (wanted == "auto" and self.gpus == 0):
            return "cpu"
        import torch

        if self.gpus == 0:
            raise ConfigError("device: cuda is set but no GPU was granted; set gpu=1 for this rule")
        if not torch.cuda.is_available():
            raise ConfigError(
                f"{self.gpus} GPU granted, but torch {torch.__version__} cannot use it; "
                "install torch for its driver, or set device: cpu"
            )
        return "cuda"


class WorkerDied(Exception):
    """The process that ran a task died: a crash, a limit of CPU seconds, or memory."""


@dataclass(frozen=True)
class Outcome:
    """A task that ended: its result, or the exception that ended it."""

    task: Any
    result: Any = None
    fault: Exception | None = None


class Pool:
    """Runs tasks on a cluster and hands back each outcome as it comes."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, work: Callable[[Task], Any], tasks: Iterable[Task]) -> Iterator[Outcome]:
        from distributed import KilledWorker, as_completed

        pending = {self._client.submit(work, task, pure=False, retries=0): task for task in tasks}
        for future in as_completed(list(pending)):
            task = pending.pop(future)
            fault = future.exception() if future.status == "error" else None
            if isinstance(fault, KilledWorker):
                yield Outcome(task, fault=WorkerDied(str(fault)))
            elif fault is not None:
                yield Outcome(task, fault=fault)
            else:
                yield Outcome(task, future.result())
            future.release()


@contextmanager
def cluster(grant: Grant, workers: Workers) -> Iterator[Pool]:
    """
    A pool on the grant: `threads` in this process, `processes` of one thread, or `one` process.

    BLAS, OpenMP and torch get one thread in each worker of the first two, and all of the grant in
    the last.
    """
    import dask
    from distributed import Client, LocalCluster

    count = 1 if workers == "one" else grant.threads
    per_worker = grant.threads if workers == "one" else 1
    threads = {
        name: str(per_worker)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    }
    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.work-stealing": False,
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.nanny.pre-spawn-environ": threads,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
        "distributed.admin.tick.limit": "1h",
        "distributed.comm.timeouts.connect": "60s",
    }
    quiet = logging.getLogger("distributed")
    quiet.setLevel(logging.ERROR)
    in_process = workers == "threads"
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=1 if in_process else count,
            threads_per_worker=count if in_process else 1,
            processes=not in_process,
            protocol="inproc://" if in_process else "tcp://",
            host=None if in_process else "127.0.0.1",
            dashboard_address=None,
            memory_limit=0 if in_process else f"{grant.memory_mb // count} MB",
            local_directory=os.environ.get("TMPDIR"),
            silence_logs=logging.CRITICAL,
        ) as local,
        Client(local) as client,
    ):
        yield Pool(client)
