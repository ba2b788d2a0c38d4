"""
Time and memory of planning about 100, 1,000 and 10,000 jobs with `snakemake -n`.

    python benchmarks/dag.py [100 1000 10000] [--repeats 3]

The config is that of workflows/ten-billion with another `capacity`: four jobs a partition (index,
a modality, two encoders) and eleven others. Each size runs in a fresh folder without data; the
sizes take turns, and medians are shown. Memory is the maximum resident set. The last columns are
what a job adds to the plan of one partition in the first line; CPU seconds are taken for it, since
planning is one thread, and other work on the machine stretches the clock's. Growth between the two
largest plans is said as a power of the number of jobs; above 1.15 it counts as more than linear,
and the exit code is 1.

Measured on 2 virtual cores that other work shared, Python 3.11, Snakemake 9.27, medians of 3:

| jobs | seconds | CPU seconds | peak MB | CPU ms a job | kB a job |
|---|---|---|---|---|---|
| 15 | 2.8 | 1.6 | 172 | | |
| 111 | 2.9 | 1.8 | 174 | 1.97 | 21.2 |
| 1,011 | 5.2 | 3.4 | 191 | 1.84 | 19.0 |
| 10,011 | 30.7 | 19.6 | 371 | 1.81 | 20.0 |

CPU time: 9.9 times for 10.0 times the jobs, jobs^0.99: linear
memory: 10.6 times for 10.0 times the jobs, jobs^1.02: linear

All but some 5 % of the time is Snakemake's own, by the profiler. It was jobs^1.10 when a scan had a
file for each of thousands of partitions: Snakemake compares them all with what an index job needs.
"""

import argparse
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "workflows/ten-billion/config.yaml"
JOBS_PER_PARTITION = 4
MOST_POWER = 1.15


class Planned(NamedTuple):
    """One dry run: its jobs, seconds by the clock and of the CPU, peak bytes."""

    jobs: int
    seconds: float
    cpu_seconds: float
    peak: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("jobs", type=int, nargs="*", default=[100, 1_000, 10_000])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    sizes = [1, *(max(2, round(jobs / JOBS_PER_PARTITION)) for jobs in sorted(args.jobs))]
    found: dict[int, list[Planned]] = {partitions: [] for partitions in sizes}
    for _ in range(args.repeats):
        for partitions, runs in found.items():
            runs.append(plan(partitions))
    start, *plans = map(medians, found.values())
    print("| jobs | seconds | CPU seconds | peak MB | CPU ms a job | kB a job |")
    print("|---|---|---|---|---|---|")
    print(f"{row(start)} | | |")
    more = [added(start, planned) for planned in plans]
    for planned, (jobs, cpu_seconds, memory) in zip(plans, more, strict=True):
        print(f"{row(planned)} | {1e3 * cpu_seconds / jobs:.2f} | {memory / jobs / 1e3:.1f} |")
    judged = [item for item in more if item[1] > 1.0]  # CPU seconds; noise has a few tenths
    sys.exit(verdict(*judged[-2:]) if len(judged) > 1 else 0)


def row(planned: Planned) -> str:
    return (
        f"| {planned.jobs:,} | {planned.seconds:.1f} | {planned.cpu_seconds:.1f} | "
        f"{planned.peak / 1e6:,.0f}"
    )


def medians(runs: list[Planned]) -> Planned:
    return Planned(*(statistics.median(values) for values in zip(*runs, strict=True)))


def added(start: Planned, planned: Planned) -> tuple[int, float, float]:
    """Jobs, CPU seconds and bytes that are added to a plan of one partition."""
    cpu_seconds = planned.cpu_seconds - start.cpu_seconds
    return planned.jobs - start.jobs, cpu_seconds, planned.peak - start.peak


def verdict(before: tuple[int, float, float], last: tuple[int, float, float]) -> int:
    """Say how time and memory grow with the jobs that are added; 1 where more than linearly."""
    jobs, *growth = (after / first for first, after in zip(before, last, strict=True))
    powers = [math.log(ratio) / math.log(jobs) for ratio in growth]
    for what, ratio, power in zip(("CPU time", "memory"), growth, powers, strict=True):
        how = "linear" if power <= MOST_POWER else "MORE THAN LINEAR"
        print(f"{what}: {ratio:.1f} times for {jobs:.1f} times the jobs, jobs^{power:.2f}: {how}")
    return int(max(powers) > MOST_POWER)


def plan(partitions: int) -> Planned:
    """A dry run in a fresh folder."""
    with tempfile.TemporaryDirectory(prefix="dag-benchmark-") as name:
        folder = Path(name)
        shutil.copy2(ROOT / "Snakefile", folder)
        for part in ("rules", "profiles", "envs"):
            shutil.copytree(ROOT / part, folder / part)
        values = yaml.safe_load(CONFIG.read_text())
        (dataset,) = values["datasets"].values()
        dataset["capacity"] = partitions * dataset["rows_per_job"]
        (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        words = ["snakemake", "-n", "--profile", "profiles/local", "--cores", "2"]
        output = folder / "output.txt"
        with output.open("wb") as file:
            began = time.monotonic()
            process = subprocess.Popen(words, cwd=folder, stdout=file, stderr=file)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
        text = output.read_text()
        if status:
            raise SystemExit(text[-2000:])
        (jobs,) = set(re.findall(r"^total +(\d+)$", text, re.MULTILINE))
        cpu_seconds = usage.ru_utime + usage.ru_stime
        return Planned(int(jobs), seconds, cpu_seconds, usage.ru_maxrss * 1024)


if __name__ == "__main__":
    main()
