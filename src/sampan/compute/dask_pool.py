"""
Dask on the threads, memory and GPUs that were granted to a job.

Workers are nanny processes that die alone and run one task each; they speak over sockets in a
folder that is the job's alone, and nothing listens to a port.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.compute.grant import Grant, Workers
from sampan.compute.pool import Outcome, Pool, Task, WorkerDied
from sampan.compute.stopping import without_signals
from sampan.compute.surroundings import environment, own_folder, variables
from sampan.errors import ConfigError

if TYPE_CHECKING:
    from sampan.compute.nodes import Cluster

MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
"""
Dask has glibc give every freed block back, so that the next picture's or batch's memory is mapped
and zeroed anew: decoding becomes 1.4 times slower, a vision transformer on the CPU 1.7 times.
"""
RESTART_SECONDS = 120
"""For a worker that died to be there again."""


class DaskPool:
    """A `Pool` of Dask's workers."""

    def __init__(self, cluster: "Cluster", client: Any, grant: Grant, workers: Workers) -> None:
        self._cluster = cluster
        self._client = client
        self._grant = grant
        self._workers = grant.workers(workers)

    def run(
        self,
        work: Callable[[Task], Any],
        tasks: Iterable[Task],
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Outcome]:
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

        start(self._workers)
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
    A pool on the grant: `processes` of one thread, `one` process, or one for each of the `gpus`,
    which sees no other.

    BLAS, OpenMP and torch get one thread in each of `processes`, and share the grant in `one` and
    in `gpus`. Signals that ask the job to stop do not reach the workers.
    """
    import dask
    from distributed import Client

    processes = grant.workers(workers)
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
    with (
        own_folder() as folder,
        environment(variables(grant.share(workers), folder) | MALLOC),
        dask.config.set(settings | {"temporary-directory": str(folder)}),
        _local_cluster(
            grant,
            [{"CUDA_VISIBLE_DEVICES": name} for name in grant.gpu_names()]
            if workers == "gpus"
            else [],
            folder,
            n_workers=processes,
            threads_per_worker=1,
            processes=True,
            memory_limit=f"{grant.memory_mb // processes} MB",
            silence_logs=logging.CRITICAL,
        ) as local,
        Client(local) as client,
    ):
        yield DaskPool(local, client, grant, workers)


def _local_cluster(
    grant: Grant, environments: list[dict[str, str]], folder: Path, **options: Any
) -> "Cluster":
    """A cluster that is blind to stop signals, whose first workers have `environments` besides."""
    from multiprocessing import resource_tracker

    from sampan.compute.nodes import Cluster
    from sampan.compute.sockets import PREFIX, host_of

    options |= {"protocol": PREFIX, "host": host_of(folder)}
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
