"""
Dask on the threads, memory and GPUs that were granted to a job.

One task a shard. Workers are threads of this process, or nanny processes that die alone and run one
task each; they speak over sockets in a folder that is the job's alone, and nothing listens to a
port. Nothing here knows what a task does.
"""

import itertools
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sampan.compute.stopping import without_signals
from sampan.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from sampan.compute.nodes import Cluster

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
COMPILED = "TORCHINDUCTOR_CACHE_DIR"
"""
Where torch keeps what it compiled, and runs it from: by default a folder of a name that anyone can
guess, and make first.
"""
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

    def __init__(self, cluster: "Cluster", client: Any, grant: Grant, workers: Workers) -> None:
        self._cluster = cluster
        self._client = client
        self._grant = grant
        self._workers = grant.workers(workers)
        self._threads = grant.threads if workers == "threads" else self._workers

    def run(
        self,
        work: Callable[[Task], Any],
        tasks: Iterable[Task],
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Outcome]:
        """Each task's outcome, as it comes; once `stop` says so, no more tasks are begun."""
        from distributed import KilledWorker, as_completed
        from distributed.scheduler import NoWorkerError

        waiting = iter(tasks)
        running: dict[Any, Task] = {}
        futures = as_completed()

        def begin(task: Task) -> None:
            future = self._client.submit(work, task, pure=False, retries=0)
            running[future] = task
            futures.add(future)

        def start(count: int) -> None:
            for task in itertools.islice(waiting, 0 if stop() else count):
                begin(task)

        start(self._threads)
        for future in futures:
            task = running.pop(future)
            fault = future.exception()
            if isinstance(fault, NoWorkerError):  # died before it was given the task
                self._wait_for_workers()
                begin(task)
                continue
            if isinstance(fault, KilledWorker):
                self._wait_for_workers()
                outcome = Outcome(task, fault=WorkerDied(str(fault)))
            elif fault is not None:
                outcome = Outcome(task, fault=fault.with_traceback(future.traceback()))
            else:
                outcome = Outcome(task, future.result())
            start(1)
            yield outcome

    def _wait_for_workers(self) -> None:
        """Until all are there; `ConfigError` where one dies each time that it is started."""
        deadline = time.monotonic() + RESTART_SECONDS
        while len(self._client.scheduler_info(n_workers=-1)["workers"]) < self._workers:
            if self._cluster.failure:
                raise _never_started(self._grant, self._workers, self._cluster.failure)
            if time.monotonic() > deadline:
                seconds = f"none came back in {RESTART_SECONDS} s"
                raise _never_started(self._grant, self._workers, seconds)
            time.sleep(0.1)


def _never_started(grant: Grant, workers: int, how: str) -> ConfigError:
    return ConfigError(
        f"a worker of this job dies while it starts, {how}; it has "
        f"{grant.memory_mb // workers:,} MB of memory, of {grant.memory_mb:,} MB granted for "
        f"{workers}; raise mem_mb of this rule or lower its threads, or see the log"
    )


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
        "distributed.scheduler.no-workers-timeout": f"{RESTART_SECONDS}s",
        "distributed.scheduler.work-stealing": False,
        "distributed.scheduler.worker-ttl": None,  # a decoder may hold the interpreter's lock
        "distributed.deploy.lost-worker-timeout": "1h",  # its nanny starts it again
        "distributed.worker.use-file-locking": False,  # the folder is this job's alone
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
        own_folder() as folder,
        _environment(
            dict.fromkeys(THREADS, str(1 if workers == "threads" else share))
            | (MALLOC if workers != "threads" else {})
            | {COMPILED: os.environ.get(COMPILED, str(folder / "compiled"))}
        ),
        dask.config.set(settings | {"temporary-directory": str(folder)}),
        _local_cluster(
            grant,
            [{"CUDA_VISIBLE_DEVICES": name} for name in grant.gpu_names()]
            if workers == "gpus"
            else [],
            folder,
            n_workers=processes,
            threads_per_worker=threads // processes,
            processes=not in_process,
            memory_limit=0 if in_process else f"{grant.memory_mb // processes} MB",
            silence_logs=logging.CRITICAL,
        ) as local,
        Client(local) as client,
    ):
        yield Pool(local, client, grant, workers)


@contextmanager
def own_folder() -> Iterator[Path]:
    """
    A folder in the temporary folder that only this user can open, gone at the end.

    `StorageError` where the temporary folder cannot have such a one.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="sampan-", ignore_cleanup_errors=True)
    except OSError as fault:
        raise StorageError(
            f"{tempfile.gettempdir()}: cannot be written: {fault.strerror or fault}; "
            "set TMPDIR to a folder that can"
        ) from fault
    with made as name:
        if Path(name).stat().st_mode & 0o077:
            raise StorageError(
                f"{name}: is open to other users whatever its mode; set TMPDIR to a folder of a "
                "file system that keeps them out"
            )
        yield Path(name)


def _local_cluster(
    grant: Grant, environments: list[dict[str, str]], folder: Path, **options: Any
) -> "Cluster":
    """A cluster that is blind to stop signals, whose first workers have `environments` besides."""
    from multiprocessing import resource_tracker

    from sampan.compute.nodes import Cluster
    from sampan.compute.sockets import PREFIX, host_of

    if options["processes"]:
        options |= {"protocol": PREFIX, "host": host_of(folder)}
    else:
        options |= {"protocol": "inproc://"}
    with without_signals():
        resource_tracker.ensure_running()  # unblocks SIGTERM in the thread that begins it
    with without_signals():
        try:
            return Cluster(environments, **options)
        except RuntimeError as fault:
            if isinstance(fault.__cause__, ConfigError):
                how = str(fault.__cause__)
                raise _never_started(grant, options["n_workers"], how) from fault
            raise


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
