"""
Dask on the threads, memory and GPUs that were granted to a job.

One task a shard. Workers are threads of this process, or nanny processes that die alone and run one
task each; everything is bound to loopback. Nothing here knows what a task does.
"""

import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sampan.errors import ConfigError
from sampan.stopping import without_signals

Task = TypeVar("Task")
Workers = Literal["threads", "processes", "one", "gpus"]

THREADS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "GOTO_NUM_THREADS"),
)
MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
"""
Dask has glibc give every freed block back, so that the next picture's or batch's memory is mapped
and zeroed anew: decoding becomes 1.4 times slower, a vision transformer on the CPU 1.7 times.
"""
LOOPBACK = "127.0.0.1:0"
"""For Dask's HTTP servers, which cannot be switched off and listen to everyone by default."""
RESTART_SECONDS = 120
"""For a worker that died to be there again."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What Snakemake gave this job."""

    threads: int
    memory_mb: int
    gpus: int = 0

    def need(self, memory_mb: int, what: str, advice: str = "") -> None:
        """Stop with numbers where the memory granted is less than the work needs, and `advice`."""
        if memory_mb > self.memory_mb:
            raise ConfigError(
                f"{what}: needs {memory_mb:,} MB of memory with {self.threads} threads; granted: "
                f"{self.memory_mb:,} MB; raise mem_mb of this rule or lower its threads"
                + (f"; {advice}" if advice else "")
            )

    def workers(self, kind: Workers) -> int:
        """Processes that share the grant."""
        return {"processes": self.threads, "gpus": self.gpus}.get(kind, 1)

    def device(self, wanted: str) -> str:
        """The device for an encoder or a model: a granted GPU that torch cannot use is an error."""
        if wanted == "cpu" or (wanted == "auto" and self.gpus == 0):
            return "cpu"
        import torch

        if self.gpus == 0:
            raise ConfigError("device: cuda is set but no GPU was granted; set gpu=1 for this rule")
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if found < self.gpus:
            raise ConfigError(
                f"{self.gpus} GPU granted, but torch {torch.__version__} can use {found}; "
                "install torch for its driver, or set device: cpu"
            )
        return "cuda"

    def gpu_names(self) -> list[str]:
        """What `CUDA_VISIBLE_DEVICES` is to be in the process of each GPU."""
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        found = list(map(str, range(self.gpus))) if named is None else named.split(",")
        if len(found) < self.gpus:
            raise ConfigError(
                f"{self.gpus} GPU granted, but CUDA_VISIBLE_DEVICES={named} names {len(found)}; "
                "ask for them by `gpu` in set-resources of the profile, not in slurm_extra"
            )
        return found[: self.gpus]


class WorkerDied(Exception):
    """The process that ran a task died: a crash, a limit of CPU seconds, or memory."""


@dataclass(frozen=True)
class Outcome:
    """A task that ended: its result, or the exception that ended it."""

    task: Any
    result: Any = None
    fault: Exception | None = None


class Pool:
    """
    Runs tasks on a cluster and hands back each outcome as it comes.

    No more tasks are handed out than there are threads, so that a worker that dies takes only the
    task with it that killed it.
    """

    def __init__(self, client: Any, *, workers: int, threads: int) -> None:
        self._client = client
        self._workers = workers
        self._threads = threads

    def run(
        self,
        work: Callable[[Task], Any],
        tasks: Iterable[Task],
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Outcome]:
        """Each task's outcome, as it comes; once `stop` says so, no more tasks are begun."""
        from distributed import KilledWorker, as_completed

        waiting = iter(tasks)
        running: dict[Any, Task] = {}
        futures = as_completed()

        def start(count: int) -> None:
            for task in itertools.islice(waiting, 0 if stop() else count):
                future = self._client.submit(work, task, pure=False, retries=0)
                running[future] = task
                futures.add(future)

        start(self._threads)
        for future in futures:
            task = running.pop(future)
            fault = future.exception()
            if isinstance(fault, KilledWorker):
                self._client.wait_for_workers(self._workers, timeout=RESTART_SECONDS)
                outcome = Outcome(task, fault=WorkerDied(str(fault)))
            elif fault is not None:
                outcome = Outcome(task, fault=fault.with_traceback(future.traceback()))
            else:
                outcome = Outcome(task, future.result())
            start(1)
            yield outcome


@contextmanager
def cluster(grant: Grant, workers: Workers) -> Iterator[Pool]:
    """
    A pool on the grant: `threads` in this process, `processes` of one thread, `one` process, or one
    for each of the `gpus`, which sees no other.

    BLAS, OpenMP and torch get one thread in each of `processes`, and share the grant in `one` and
    in `gpus`. In `threads` they keep what they were given when this process loaded them. Signals
    that ask the job to stop do not reach the workers.
    """
    import dask
    from distributed import Client

    processes = grant.workers(workers)
    threads = grant.threads if workers == "threads" else processes
    share = grant.threads if workers == "one" else max(1, grant.threads // processes)
    settings: dict[str, Any] = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.work-stealing": False,
        "distributed.scheduler.worker-ttl": None,  # a decoder may hold the interpreter's lock
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.monitor-interval": "500ms",  # reads /proc for each worker
        "distributed.admin.tick.interval": "1s",  # every 20 ms it would wake each process
        "distributed.admin.tick.limit": "1h",
        "distributed.admin.system-monitor.interval": "10s",
        "distributed.admin.system-monitor.disk": False,
        "distributed.worker.profile.enabled": False,  # looks at every thread every 10 ms
        "distributed.comm.timeouts.connect": "60s",
    }
    quiet = logging.getLogger("distributed")
    quiet.setLevel(logging.ERROR)
    in_process = workers == "threads"
    with (
        _environment(
            dict.fromkeys(THREADS, str(1 if workers == "threads" else share))
            | (MALLOC if workers != "threads" else {})
        ),
        dask.config.set(settings),
        _local_cluster(
            [{"CUDA_VISIBLE_DEVICES": name} for name in grant.gpu_names()]
            if workers == "gpus"
            else [],
            n_workers=processes,
            threads_per_worker=threads // processes,
            processes=not in_process,
            protocol="inproc://" if in_process else "tcp://",
            host=None if in_process else "127.0.0.1",
            dashboard_address=LOOPBACK,
            worker_dashboard_address=LOOPBACK,
            scheduler_kwargs={"dashboard": False},
            memory_limit=0 if in_process else f"{grant.memory_mb // processes} MB",
            local_directory=os.environ.get("TMPDIR"),
            silence_logs=logging.CRITICAL,
        ) as local,
        Client(local) as client,
    ):
        yield Pool(client, workers=processes, threads=threads)


def _local_cluster(environments: list[dict[str, str]], **options: Any) -> Any:
    """A LocalCluster, blind to stop signals, whose first workers have `environments` besides."""
    from multiprocessing import resource_tracker

    from distributed import LocalCluster

    class Cluster(LocalCluster):
        async def _start(self) -> None:
            for name, own in enumerate(environments):
                options = {**self.worker_spec[name]["options"], "env": own}
                self.worker_spec[name] = {**self.worker_spec[name], "options": options}
            await super()._start()  # type: ignore[no-untyped-call] # Dask's

    with without_signals():
        resource_tracker.ensure_running()  # unblocks SIGTERM in the thread that begins it
    with without_signals():
        return Cluster(**options)  # type: ignore[no-untyped-call] # Dask's


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables for the workers: Dask's own settings yield to those that are set already."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
