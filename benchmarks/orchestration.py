"""
What Snakemake, Dask and the ledger add to work, and how long it takes to find that all is done.

    python benchmarks/orchestration.py [--shards 64] [--seconds 10]

A plug-in encoder that sleeps through its shard; one partition, `snakemake features` from the table
on: scan, index, preprocess, extract, commit. What is more than the sleeping, shared by the workers,
is overhead. Then the extract job again, with nothing left to do: start-up and adoption alone.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import goals
import jobs
from goals import Found, Report, in_turns

from sampan.plan import Plan

HERE = Path(__file__).resolve().parents[1]
ROWS_PER_SHARD = 16
SLEEPER = '''
import time
from dataclasses import dataclass, field

@dataclass(frozen=True, kw_only=True)
class Sleeper:
    """Sleeps `seconds` for each batch."""
    __pydantic_config__ = {"extra": "forbid"}
    kinds = ("text",)
    workers = "processes"
    devices = ("cpu",)
    seconds: float = 1.0
    batch: int = 16
    dimensions: int = field(default=4, init=False)
    def memory_bytes(self): return 0
    def check(self, modality): return []
    def load(self, modality, device): return self
    def __call__(self, data, length):
        import numpy as np
        time.sleep(self.seconds)
        return np.ones((len(data), 4), np.float32)
'''


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0, help="of work in a shard")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1, help="of the whole run")
    parser.add_argument("--starts", type=int, default=7, help="of the job with nothing to do")
    parser.add_argument("--folder", type=Path, default=jobs.IN_MEMORY)


def measure(args: argparse.Namespace) -> Report:
    folder = args.folder / "orchestration-benchmark"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install(folder / "site")
    rows = ROWS_PER_SHARD * args.shards
    table = folder / "rows.csv"
    jobs.write_table(table, "text", [f"text {row}" for row in range(rows)])
    shard = {"rows_per_shard": ROWS_PER_SHARD}
    modality = {"kind": "text", "column": "text", "bytes": 32, **shard}
    config = jobs.one_partition(
        folder / "results", table, modality, rows, features={"text": ["sleeper"]}
    )
    config["encoders"] = {"sleeper": {"kind": "sleeper", "seconds": args.seconds, **shard}}
    (folder / "config.yaml").write_text(json.dumps(config))
    work = args.shards * args.seconds / args.workers
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    def overhead() -> float:
        shutil.rmtree(folder / "results", ignore_errors=True)
        wall = snakemake(folder, args.workers)
        return 100 * (wall - work) / wall

    shares = in_turns({"overhead, %": overhead}, args.repeats)["overhead, %"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / args.repeats
    os.environ["PYTHONPATH"] = str(folder / "site")
    sys.path.insert(0, str(folder / "site"))
    plan = Plan.parse(config)
    words = jobs.stage_command(plan, "extract", "rows", "text.sleeper", threads=args.workers)
    starts = in_turns({"start, s": lambda: jobs.run(words).seconds}, args.starts)["start, s"]
    shutil.rmtree(folder)
    return Report(
        [
            Found(
                hop=f"orchestration, {args.shards} shards of {args.seconds:g} s",
                measured="share of wall time that is no work",
                values=tuple(shares),
                goal=3,
                at_most=True,
                unit="%",
            ),
            Found(
                hop="start, `sampan extract` with nothing left to do",
                measured="seconds",
                values=tuple(starts),
                goal=1.5,
                at_most=True,
                unit="s",
            ),
        ],
        {"orchestration, CPU seconds of all processes": round(cpu, 1)},
    )


def install(site: Path) -> None:
    """The plug-in in a folder of its own, as pip would leave it behind."""
    about = site / "sleeper-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "sleeper.py").write_text(SLEEPER)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sleeper\nVersion: 1.0\n")
    entry_point = "[sampan.encoders]\nsleeper = sleeper:Sleeper\n"
    (about / "entry_points.txt").write_text(entry_point)


def snakemake(folder: Path, workers: int) -> float:
    """Seconds from the command to the committed features."""
    words = [sys.executable, "-m", "snakemake", "features", "-s", str(HERE / "Snakefile")]
    words += ["--profile", str(HERE / "profiles/local"), "--cores", str(workers)]
    words += ["--configfile", str(folder / "config.yaml"), "--directory", str(folder)]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"PYTHONPATH": str(folder / "site"), "PATH": path}
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.monotonic() - began


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
