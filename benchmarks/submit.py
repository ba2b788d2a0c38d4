"""
From submission to commit: N trivial partitions through Snakemake's Slurm executor.

    python benchmarks/submit.py [500 1500 5000] [--jobs N] [--folder FOLDER] [-- SNAKEMAKE OPTIONS]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import fake_slurm

ROOT = Path(__file__).resolve().parents[1]
ROWS_PER_JOB = 8
MAKE_INDEX = """
import json, sys
from sampan.cli import main
for words in json.load(open("index.json")):
    if code := main(words):
        sys.exit(code)
"""
OPTIONS = (
    *("--profile", "profiles/slurm", "--set-threads", "preprocess_part=1", "--latency-wait", "5"),
    *("--default-resources", "slurm_partition=fake", "slurm_account=fake"),
)


class Run(NamedTuple):
    """What one run took, of all its jobs."""

    partitions: int
    jobs: int
    seconds: float
    master_cpu_seconds: float
    step_seconds: float
    step_cpu_seconds: float
    commit_seconds: float
    peak: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("partitions", type=int, nargs="*", default=[500, 1_500, 5_000])
    parser.add_argument("--jobs", type=int, default=500, help="submitted at once, at most")
    parser.add_argument(
        "--seconds-at-most", type=int, default=1800, help="for one run; a longer one is a failure"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="to make a folder in"
    )
    words = sys.argv[1:]
    more = words[words.index("--") + 1 :] if "--" in words else []
    args = parser.parse_args(words[: words.index("--")] if "--" in words else words)
    print(
        "| partitions | jobs | seconds | ms a job | Snakemake, plugin, clients: CPU ms a job | "
        "sampan's step: ms a job | CPU ms a job | commits: seconds | Snakemake: peak MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    folder = args.folder / "submit-benchmark"
    for partitions in args.partitions:
        shutil.rmtree(folder, ignore_errors=True)
        found = measure(folder, partitions, ["--jobs", str(args.jobs), *more], args.seconds_at_most)
        print(
            f"| {found.partitions:,} | {found.jobs:,} | {found.seconds:,.0f} | "
            f"{1e3 * found.seconds / found.jobs:.0f} | "
            f"{1e3 * found.master_cpu_seconds / found.jobs:.0f} | "
            f"{1e3 * found.step_seconds / found.jobs:.0f} | "
            f"{1e3 * found.step_cpu_seconds / found.jobs:.0f} | {found.commit_seconds:.1f} | "
            f"{found.peak / 1e6:,.0f} |",
            flush=True,
        )
    shutil.rmtree(folder)


def measure(folder: Path, partitions: int, options: list[str], seconds_at_most: int) -> Run:
    """A fresh workflow folder, a fake Slurm, one run of Snakemake; ends the program on a fault."""
    folder.mkdir(parents=True)
    for name in ("Snakefile", "rules", "profiles", "envs", "workflows"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    write_data(folder, partitions)
    commands = dict(planned(folder))
    make_index(folder, commands)
    submitted = {name: found for name, found in commands.items() if name.startswith("preprocess_")}
    address, usage = str(folder / "slurm.socket"), folder / "usage.json"
    (folder / "commands.json").write_text(json.dumps(submitted))
    fake_slurm.write_clients(folder / "bin", address)
    with open(folder / "slurm.log", "wb") as log:
        slurm = subprocess.Popen(
            [sys.executable, fake_slurm.__file__, address, "commands.json", str(usage)],
            cwd=folder,
            stderr=log,
        )
    try:
        while not Path(address).exists():
            time.sleep(0.05)
        seconds, cpu_seconds, peak = run(folder, options, seconds_at_most)
    finally:
        slurm.kill()
        slurm.wait()
    check(folder, partitions)
    taken = json.loads(usage.read_text())
    done = sum(verb["jobs"] for verb in taken.values())
    if done != len(submitted):
        raise SystemExit(f"{done:,} jobs ran; planned: {len(submitted):,}")
    return Run(
        partitions=partitions,
        jobs=done,
        seconds=seconds,
        master_cpu_seconds=cpu_seconds,
        step_seconds=sum(verb["seconds"] for verb in taken.values()),
        step_cpu_seconds=sum(verb["cpu_seconds"] for verb in taken.values()),
        commit_seconds=sum(commit_seconds(folder)),
        peak=peak,
    )


def write_data(folder: Path, partitions: int) -> None:
    """A table of short texts, and the config: `partitions` of eight rows, one modality."""
    rows = partitions * ROWS_PER_JOB
    lines = [f"s{i:09d},text number {i}" for i in range(rows)]
    (folder / "texts.csv").write_text("\n".join(["id,text", *lines, ""]))
    dataset = {
        "source": [{"kind": "table", "path": "texts.csv", "key": "id"}],
        "capacity": rows,
        "rows_per_job": ROWS_PER_JOB,
        "modalities": {"text": {"kind": "text", "column": "text", "bytes": 32}},
    }
    (folder / "config.yaml").write_text(json.dumps({"datasets": {"texts": dataset}}))


def make_index(folder: Path, commands: dict[str, fake_slurm.Command]) -> None:
    """The scan and the index, without Snakemake: not what is measured."""
    order = ("scan_texts", "index_texts", "commit_index_texts")
    words = [
        found.words
        for rule in order
        for name, found in commands.items()
        if name.partition(":")[0] == rule
    ]
    (folder / "index.json").write_text(json.dumps(words))
    with open(folder / "index.log", "wb") as log:
        subprocess.run([sys.executable, "-c", MAKE_INDEX], cwd=folder, check=True, stderr=log)


def planned(folder: Path) -> Iterator[tuple[str, fake_slurm.Command]]:
    """Each job's name and command, as a dry run prints them."""
    words = ["snakemake", "-n", "-p", *OPTIONS, "--jobs", "1", "--", "preprocess"]
    shown = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout
    for job in re.split(r"^(?:local)?rule ", shown, flags=re.MULTILINE)[1:]:
        rule = job.partition(":")[0]
        wildcards = re.search(r"^    wildcards: (.*)$", job, re.MULTILINE)
        shell = re.search(r"^Shell command: *\n(.*?)\n *$", job, re.MULTILINE | re.DOTALL)
        if shell:
            name = fake_slurm.job_name(rule, wildcards[1] if wildcards else "")
            benchmark = re.search(r"^    benchmark: (.*)$", job, re.MULTILINE)
            yield name, fake_slurm.command_of(shell[1], benchmark[1])


def run(folder: Path, options: list[str], at_most: int) -> tuple[float, float, int]:
    """Seconds, CPU seconds with all clients, peak bytes of Snakemake's own process."""
    environment = os.environ | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    words = ["timeout", str(at_most), "snakemake", *OPTIONS, *options, "--", "preprocess"]
    began = time.monotonic()
    with open(folder / "snakemake.log", "wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        why = f"took more than {at_most:,} s" if seconds > at_most else "failed"
        raise SystemExit(f"the run {why}: see {folder}/snakemake.log")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def check(folder: Path, partitions: int) -> None:
    """Every partition is committed, with all its rows valid."""
    (committed,) = folder.glob("results/texts/preprocess/text@*/dataset.json")
    about = json.loads(committed.read_text())
    wanted = (partitions, partitions * ROWS_PER_JOB)
    if (len(about["parts"]), about["valid"]) != wanted:
        raise SystemExit(f"committed: {len(about['parts']):,} parts, {about['valid']:,} valid rows")


def commit_seconds(folder: Path) -> Iterator[float]:
    """Of each commit, as Snakemake's benchmark says."""
    for path in folder.glob("results/benchmarks/**/commit.tsv"):
        names, values = (line.split("\t") for line in path.read_text().splitlines())
        yield float(dict(zip(names, values, strict=True))["s"])


if __name__ == "__main__":
    main()
