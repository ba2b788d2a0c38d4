"""Run sampan's steps as the rules do, and say how long they took."""

import json
import mmap
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from sampan.events import Worked
from sampan.plan import Jobs, Plan
from sampan.plan.jobs import Settings
from sampan.runs.events import read_events

IN_MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
"""Where files lie of benchmarks that are not to measure the disk."""


def touch(size: int) -> None:
    """
    Fill and free so many bytes before a measured run that will write as many.

    A virtual machine gets its memory from its host when it is first touched, and may lose it again
    when it is idle: the first write then takes ten times as long, whoever writes.
    """
    with mmap.mmap(-1, size) as memory:
        piece = b"\1" * 2**20
        for start in range(0, size - len(piece) + 1, len(piece)):
            memory[start : start + len(piece)] = piece


class Job(NamedTuple):
    seconds: float
    """Of the whole command, its start included."""
    worked: Worked | None
    """What it says of its work, with the seconds of the shards alone."""

    @property
    def busy(self) -> str:
        """`the encoder waited 4 % of the time for data; …`"""
        return str(self.worked).partition("; ")[2]

    @property
    def seconds_at_work(self) -> float:
        """Of the shards alone."""
        assert self.worked is not None
        return self.worked.busy_seconds


def command(plan: Plan, verb: str, job: Settings, *more: str) -> list[str]:
    words = [sys.executable, "-m", "sampan.cli", verb, "--spec", json.dumps(job.to_json())]
    return [*words, "--results", str(plan.results), *more]


def run(words: list[str]) -> Job:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        began = time.monotonic()
        done = subprocess.run([*words, "--events", str(path)], capture_output=True, text=True)
        seconds = time.monotonic() - began
        if done.returncode:
            raise SystemExit(done.stderr)
        events = read_events(path)
        return Job(seconds, events.worked if events else None)


def index(plan: Plan, dataset: str) -> None:
    run(command(plan, "scan", Jobs(plan).scan(dataset)))
    run(command(plan, "index", Jobs(plan).index(dataset), "--part", "0"))


def stage_command(
    plan: Plan, verb: str, dataset: str, name: str, *, threads: int, memory_mb: int = 20_000
) -> list[str]:
    """The one job of a stage: `preprocess` of a modality, `extract` of features."""
    stages = plan.preprocessed if verb == "preprocess" else plan.features
    job = getattr(Jobs(plan), verb)(dataset, name)
    receipt = plan.results / stages[dataset, name].folder / "receipts/part-00000.json"
    grant = ["--threads", str(threads), "--memory-mb", str(memory_mb)]
    return command(plan, verb, job, "--part", "0", "--receipt", str(receipt), *grant)


def write_table(path: Path, column: str, cells: list[str]) -> None:
    lines = [f"r{row:07d},{cell}" for row, cell in enumerate(cells)]
    path.write_text("\n".join([f"id,{column}", *lines, ""]))


def capacity_of(rows: int) -> int:
    return 1 << max(6, (rows - 1).bit_length())


def one_partition(
    results: Path, table: Path, modality: dict[str, Any], rows: int, **more: Any
) -> dict[str, Any]:
    """A config of the dataset `rows`, all in one partition; `more` is the dataset's."""
    capacity = capacity_of(rows)
    dataset = {
        "source": [{"kind": "table", "path": str(table), "key": "id"}],
        "capacity": capacity,
        "rows_per_job": capacity,
        "modalities": {modality["kind"]: modality},
    }
    return {"results": str(results), "datasets": {"rows": dataset | more}}
