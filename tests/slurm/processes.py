"""
The processes and mounts of a cluster, found by what they carry with them, and how they end.

Run as a program with a cluster's folder, it is the guard: it waits until its standard input ends,
and with it the one who started it, then ends the cluster.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil


def wait_for(holds: Callable[[], Any], seconds: float, what: str) -> Any:
    """Ask again until the answer is true, and return it; an assertion fails after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)
    return found


def lives(pid: int) -> bool:
    """Whether a process is there, and more than a zombie that nobody has asked about."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(pid: int) -> None:
    """End a process with -9, and see it gone."""
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not lives(pid), 10, f"process {pid} to be gone")


def processes_of(state: Path, node: str = "") -> Iterator[psutil.Process]:
    """
    Processes of a cluster, or of one of its nodes, but this one and those above it.

    They have its slurm.conf in their environment; a slurmstepd, which writes over its environment,
    has its slurmd's folder.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        with suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and _belongs(process, state, node):
                yield process


def _belongs(process: psutil.Process, state: Path, node: str) -> bool:
    if process.name() == "slurmstepd":
        return Path(process.cwd()).is_relative_to(state / node)
    environment: Mapping[str, str] = process.environ()
    if environment.get("SLURM_CONF") != str(state / "slurm.conf"):
        return False
    return node in ("", environment.get("SLURMD_NODENAME"))


def end_all(state: Path, node: str = "") -> None:
    """Kill what belongs to a cluster, or to one of its nodes, until nothing does."""
    for _ in range(20):
        found = list(processes_of(state, node))
        if not found:
            break
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=5)


def end_mounts(state: Path) -> None:
    """Take down the file systems that tests mounted in the name of this cluster."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        name, folder = line.split()[:2]
        if name == state.name:
            subprocess.run(["umount", "-l", folder], check=False)


def _guard(state: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    if state.exists():
        end_all(state)
        end_mounts(state)
        shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    _guard(Path(sys.argv[1]))
