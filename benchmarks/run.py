"""
The default run, from Snakemake's start to the page, beside the same commands in one process.

    python benchmarks/run.py [--repeats 3] [--cores 2]

Into a results folder of its own, with the raw files made before. "In one process" is the ideal: all
its `sampan` commands one after another, each library loaded once, no Snakemake, no process but the
workers of jobs.
"""

import argparse
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import goals
from goals import Found, Report, in_turns

ROOT = Path(__file__).resolve().parents[1]
IN_ONE_PROCESS = """
import json, pathlib, sys
from sampan.cli import main
for words in json.load(open(sys.argv[1])):
    for flag in ("--receipt", "--out"):
        if flag in words:
            pathlib.Path(words[words.index(flag) + 1]).parent.mkdir(parents=True, exist_ok=True)
    if code := main(words):
        sys.exit(f"{code}: {words}")
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))


def measure(args: argparse.Namespace) -> Report:
    folder = args.folder / "run-benchmark"
    results = folder / "results"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = ["--profile", "profiles/local", "--cores", str(args.cores)]
    options += ["--config", f"results={results}"]
    snakemake("index", *options)  # and the raw files
    shutil.rmtree(results)
    listed = folder / "commands.json"
    listed.write_text(json.dumps(commands(options)))
    spent: list[float] = []

    def run() -> float:
        shutil.rmtree(results, ignore_errors=True)
        before, began = cpu_seconds(), time.monotonic()
        snakemake(*options)
        spent.append(cpu_seconds() - before)
        return time.monotonic() - began

    def ideal() -> float:
        shutil.rmtree(results, ignore_errors=True)
        began = time.monotonic()
        called([sys.executable, "-c", IN_ONE_PROCESS, str(listed)])
        return time.monotonic() - began

    seen = in_turns({"the default run, s": run, "in one process, s": ideal}, args.repeats)
    jobs = len(json.loads(listed.read_text()))
    shutil.rmtree(folder)
    return Report(
        [
            Found(
                hop="the default run, after the install",
                measured="seconds",
                values=tuple(seen["the default run, s"]),
                goal=20,
                at_most=True,
                unit="s",
            ),
        ],
        {
            "the default run, jobs of sampan": jobs,
            "the default run, CPU seconds": [round(value, 1) for value in spent],
            "the same commands in one process, seconds": [
                round(value, 1) for value in seen["in one process, s"]
            ],
        },
    )


def commands(options: list[str]) -> list[list[str]]:
    """The words of every `sampan` command of the run, in the order of their inputs."""
    shown = snakemake("-n", "-p", *options)
    lines = [
        found.replace("\\\n", " ").rpartition("2>")[0]
        for found in re.findall(r"^ *(sampan (?:.*\\\n)*.*)$", shown, re.MULTILINE)
    ]
    order = ("scan", "index", "preprocess", "extract", "train", "evaluate", "report")
    words = [shlex.split(line)[1:] for line in lines]

    def place(one: list[str]) -> float:
        if one[0] != "commit":
            return order.index(one[0])
        spec = one[one.index("--spec") + 1]
        return 3.5 if '"above"' in spec else 2.5 if '"made_with"' in spec else 1.5

    return sorted((one for one in words if one[0] != "watch"), key=place)


def snakemake(*words: str) -> str:
    return called([sys.executable, "-m", "snakemake", *words])


def called(words: list[str]) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
