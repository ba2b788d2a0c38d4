"""
Find the samples that kill their worker: each is tried in a process that may die.

The child, `python -m sampan.execution.culprits`, works through a shard's rows and names each before
it is touched. When it dies, the last row it named is the culprit, and a new child goes on without
it.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from dataclasses import fields
from pathlib import Path

from sampan.compute.stopping import without_signals
from sampan.execution.limits import CPU_SECONDS, cpu_seconds_at_most
from sampan.execution.shard_job import ShardTask, maker_of, name_of

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
        row, code = _run_child(task.without(found), memory_mb)
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
            [sys.executable, "-m", "sampan.execution.culprits", str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
    with child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(_as_json(task))
        child.stdin.close()
        row = None
        for line in child.stdout:
            row = int(line)
    return row, child.returncode


def _as_json(task: ShardTask) -> str:
    """Nothing is unpickled in a process that strangers' bytes may take over."""
    plain = {each.name: getattr(task, each.name) for each in fields(task)}
    maker = {"maker": name_of(task.maker), "job": task.job.to_json()}
    places = {"results": str(task.results), "outbox": str(task.outbox)}
    return json.dumps(plain | maker | places)


def _from_json(text: str) -> ShardTask:
    value = json.loads(text)
    value["maker"] = maker_of(value["maker"], value.pop("job"))
    value["poison"] = tuple((row, reason) for row, reason in value["poison"])
    value["absent"] = tuple(value["absent"])
    value |= {name: Path(value[name]) for name in ("results", "outbox")}
    return ShardTask(**value)


def _main() -> None:
    rows = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a decoder prints goes to the log
    task = _from_json(sys.stdin.read())
    limit = max(DASK_MB, int(sys.argv[1]) * 95 // 100 - DASK_MB) * 10**6
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    known = dict(task.poison)
    try:
        task.maker.prepare(task)
        for row, read in task.maker.upstream.blocks(task):
            if row in known:
                continue
            print(row, file=rows, flush=True)
            with cpu_seconds_at_most("processes"):
                block = read()
                if block is not None:
                    task.maker.try_row(task, block)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception:  # kills no process: the worker meets it too, and its job ends with it
        traceback.print_exc()


if __name__ == "__main__":
    _main()
