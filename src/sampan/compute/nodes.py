"""
Dask's scheduler, nannies and workers, which nobody but this job can speak to.

They serve no HTTP, and keep the folders that they write to off `sys.path`. A worker that dies
before it is up is started again, a few times.
"""

import asyncio
import signal
import sys
from typing import Any

import distributed
from distributed.comm.core import Comm
from distributed.core import Status

from sampan.compute import sockets as sockets  # a worker's process learns the addresses from here
from sampan.compute.surroundings import Memory, limit_memory_to
from sampan.errors import ConfigError
from sampan.terminal import set_up_log

STARTS = 4
"""How often a worker may die before it is up."""


class Reserved:
    """What the three have in common."""

    local_directory: str
    _updated_sys_path: bool

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self._updated_sys_path:
            sys.path.remove(self.local_directory)
            self._updated_sys_path = False

    def start_http_server(self, *args: Any, **options: Any) -> None:
        """Dask has no switch for it."""


class Scheduler(Reserved, distributed.Scheduler):
    async def add_worker(self, comm: Comm, *, nanny: str, **options: Any) -> None:
        """Its nanny learns it before the worker gets a task: the first one may kill it."""
        for known in Nanny._instances:
            if isinstance(known, Nanny) and known.address == nanny:
                known.worker_is_up()
        await super().add_worker(comm, nanny=nanny, **options)


class Worker(Reserved, distributed.Worker):
    pass


class ProcessWorker(Worker):
    """One in a process of its own, where nothing has set up a log yet."""

    def __init__(self, *args: Any, **options: Any) -> None:
        set_up_log()
        super().__init__(*args, **options)
        if limit := self.memory_manager.memory_limit:
            limit_memory_to(Memory(limit))


class Nanny(Reserved, distributed.Nanny):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, worker_class=ProcessWorker, **options)
        self._is_up = False
        self._failed: list[int] = []
        """Exit statuses of starts in a row."""

    @property
    def failure(self) -> str:
        """Why there is no worker and will be none; empty where that is not so."""
        if len(self._failed) < STARTS:
            return ""
        return f"{STARTS} times in a row; the last {_ending(self._failed[-1])}"

    async def instantiate(self) -> Status:
        while not self.failure:
            if await super().instantiate() == Status.running:
                return Status.running
            await asyncio.sleep(0.1)
        if self.status in (Status.init, Status.starting):
            raise ConfigError(self.failure)
        return Status.failed

    def worker_is_up(self) -> None:
        self._is_up = True
        self._failed.clear()

    def _on_worker_exit_sync(self, exitcode: int) -> None:
        if not self._is_up:
            self._failed.append(exitcode)
        self._is_up = False
        super()._on_worker_exit_sync(exitcode)  # type: ignore[no-untyped-call] # Dask's


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name
    return f"was killed by {name}" + (", most likely for memory" if name == "SIGKILL" else "")


class Cluster(distributed.LocalCluster):
    """A LocalCluster of these, whose first workers have `environments` besides."""

    def __init__(
        self, environments: list[dict[str, str]], *, processes: bool, **options: Any
    ) -> None:
        self._environments = environments
        super().__init__(  # type: ignore[no-untyped-call] # Dask's
            processes=processes,
            worker_class=Nanny if processes else Worker,
            dashboard_address=None,
            **options,
        )

    async def _start(self) -> None:
        self.scheduler_spec["cls"] = Scheduler
        for name, own in enumerate(self._environments):
            spec = self.worker_spec[name]
            self.worker_spec[name] = {**spec, "options": {**spec["options"], "env": own}}
        await super()._start()  # type: ignore[no-untyped-call] # Dask's

    @property
    def failure(self) -> str:
        """Why one of its workers will not come back; empty where all do."""
        failures = (getattr(worker, "failure", "") for worker in self.workers.values())
        return next(filter(None, failures), "")
