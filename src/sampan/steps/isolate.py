"""
Find the samples that kill their worker: each is tried in a process that may die.

The child, `python -m sampan.steps.isolate`, works through a shard's rows and names each row before
it is touched. When it dies, the last row it named is the culprit, and a new child goes on without
it.
"""

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from dataclasses import asdict, replace

from sampan.steps.limits import CPU_SECONDS
from sampan.steps.shards import ShardTask
from sampan.stopping import without_signals

OUT_OF_MEMORY = 117
"""Exit status of the child for a row that wants more memory than a worker has."""
DASK_MB = 100
"""What Dask takes in a worker, and not in the child."""

REASONS = {
    signal.SIGSEGV: "crashed its decoder: segmentation fault",
    signal.SIGABRT: "crashed its decoder: abort",
    signal.SIGBUS: "crashed its decoder: bus error",
    signal.SIGILL: "crashed its decoder: illegal instruction",
    signal.SIGFPE: "crashed its decoder: arithmetic fault",
    signal.SIGPROF: f"hung its decoder: more than {CPU_SECONDS:g} CPU seconds",
    signal.SIGKILL: "killed its decoder: most likely for its memory",
}


def culprits(task: ShardTask, memory_mb: int) -> dict[int, str]:
    """Row → reason, for the rows of a shard whose work kills its process."""
    found: dict[int, str] = {}
    while True:
        poison = tuple((task.poison_dict() | found).items())
        row, code = _run_child(replace(task, poison=poison), memory_mb)
        if code == 0:
            return found
        if row is None:
            raise RuntimeError(f"the process that looks for a fatal sample ended with {code}")
        found[row] = _reason(code, memory_mb)


def _reason(code: int, memory_mb: int) -> str:
    if code == OUT_OF_MEMORY:
        return f"needs too much memory: more than the {memory_mb:,} MB of a worker"
    if code > 0:
        return f"ended its decoder: exit status {code}"
    ended = signal.Signals(-code)
    return REASONS.get(ended, f"killed its decoder: {ended.name}")


def _run_child(task: ShardTask, memory_mb: int) -> tuple[int | None, int]:
    """The last row that a child touched, and how it ended."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with without_signals():  # or a job that is asked to stop would blame the row at hand
        child = subprocess.Popen(
            [sys.executable, "-m", "sampan.steps.isolate", str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
    with child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(json.dumps(asdict(task)))
        child.stdin.close()
        row = None
        for line in child.stdout:
            row = int(line)
    return row, child.returncode


def _main() -> None:
    rows = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a decoder prints goes to the log
    value = json.loads(sys.stdin.read())
    value["poison"] = tuple((row, reason) for row, reason in value["poison"])
    value["absent"] = tuple(value["absent"])
    task = ShardTask(**value)
    limit = max(DASK_MB, int(sys.argv[1]) * 95 // 100 - DASK_MB) * 10**6
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    step = importlib.import_module(f"sampan.steps.{task.step}")
    try:
        for row in step.probe(task):
            print(row, file=rows, flush=True)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception:  # kills no process: the worker meets it too, and its job ends with it
        traceback.print_exc()


if __name__ == "__main__":
    _main()
