"""
Peak memory of one `sampan preprocess` job at 1, 10 and 100 times the samples: it must not grow.

    python benchmarks/memory.py [200 2000 20000]

Photographs of 500 × 375 under as many names as there are rows. Measured every 50 ms over the job
and all its descendants: the resident memory of the largest process, and the sum of their
proportional set sizes, which counts shared pages once.
"""

import argparse
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import goals
import jobs
from goals import Found, Report
from pictures import link, write_pictures

from sampan import plugins
from sampan.plan import Plan
from sampan.plan.memory import modality_mb

FILES = 200
EVERY_SECONDS = 0.05
MODALITY = {"kind": "image", "column": "file", "height": 224, "width": 224}


class Peak(NamedTuple):
    """Memory in bytes at most, and how long the job took."""

    seconds: float
    largest: int
    tree: int


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 2_000, 20_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=jobs.IN_MEMORY)


def measure(args: argparse.Namespace) -> Report:
    folder = args.folder / "memory-benchmark"
    shutil.rmtree(folder, ignore_errors=True)
    files = write_pictures(folder / "pictures", FILES)
    peaks = {rows: peak(folder, files, rows, args.threads) for rows in args.rows}
    shutil.rmtree(folder)
    settings = {name: value for name, value in MODALITY.items() if name != "column"}
    planned = modality_mb(plugins.make("modalities", settings, "image"), args.threads)
    trees = [found.tree for found in peaks.values()]
    times = " and ".join(f"{rows:,}" for rows in args.rows)
    return Report(
        [
            Found(
                hop="peak memory, preprocess",
                measured=f"largest ÷ least, at {times} samples",
                values=(max(trees) / min(trees),),
                goal=1.1,
                at_most=True,
            ),
            Found(
                hop="peak memory, preprocess",
                measured="÷ the stated plan",
                values=(max(trees) / 1e6 / planned,),
                goal=1,
                at_most=True,
            ),
        ],
        {
            f"{rows:,} rows": f"{found.seconds:.1f} s, all processes {found.tree / 1e6:,.0f} MB, "
            f"the largest {found.largest / 1e6:,.0f} MB"
            for rows, found in peaks.items()
        }
        | {"planned, MB": planned},
    )


def peak(folder: Path, files: list[Path], rows: int, threads: int) -> Peak:
    """Index `rows` names of the pictures, then preprocess them in one job."""
    names = link(files, folder / "links", rows)
    table = folder / f"rows-{rows}.csv"
    jobs.write_table(table, "file", [f"links/{name}" for name in names])
    results = folder / f"results-{rows}"
    plan = Plan.parse(jobs.one_partition(results, table, MODALITY, rows))
    jobs.index(plan, "rows")
    words = jobs.stage_command(plan, "preprocess", "rows", "image", threads=threads)
    began = time.monotonic()
    job = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    largest = tree = 0
    while job.poll() is None:
        sizes = [memory(process) for process in descendants(job.pid)]
        largest = max([largest, *(resident for resident, _ in sizes)])
        tree = max(tree, sum(shared for _, shared in sizes))
        time.sleep(EVERY_SECONDS)
    if job.returncode:
        raise SystemExit(f"failed: {' '.join(words)}")
    shutil.rmtree(results)
    return Peak(time.monotonic() - began, largest, tree)


def descendants(process: int) -> list[int]:
    """A process and all that it started, directly or not (Linux, proc(5))."""
    found = [process]
    for parent in found:
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                children = Path(f"/proc/{parent}/task/{thread}/children").read_text()
                found += map(int, children.split())
        except OSError:
            continue  # it ended meanwhile
    return found


def memory(process: int) -> tuple[int, int]:
    """Resident and proportional set size in bytes; zeros for one that has ended."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0, 0
    sizes = dict(line.split()[:2] for line in text.splitlines()[1:])
    return int(sizes["Rss:"]) * 1024, int(sizes["Pss:"]) * 1024


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
