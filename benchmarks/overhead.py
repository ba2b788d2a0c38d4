"""
What Slurm and Snakemake add to a job: from submission to its end, less the step's own time.

    python benchmarks/overhead.py [--partitions 100]

On the cluster of tests/slurm, all of it on this machine: trivial partitions of texts are decoded by
one Slurm job each. A job's work is what its `benchmark:` file says; the rest is waiting in the
queue, two starts of Snakemake, srun. All jobs are submitted at once and share the machine's cores:
the median counts their waiting for each other, the least hardly any.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import pipeline
from slurm.cluster import Cluster
from slurm.runs import clone_of

ROWS_PER_JOB = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--partitions", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Cluster() as cluster:
        clone = clone_of(Path(folder) / "clone")
        config = pipeline.texts(clone.folder, rows=ROWS_PER_JOB * args.partitions, max_invalid=1)
        dataset = config["datasets"]["texts"]
        dataset |= {"rows_per_job": ROWS_PER_JOB, "capacity": ROWS_PER_JOB * args.partitions}
        dataset["modalities"]["text"]["rows_per_shard"] = ROWS_PER_JOB
        dataset["features"], config["encoders"] = {}, {}
        clone.write_config(config)
        pipeline.run(config, ["scan", "index"])
        path = f"{Path(sys.executable).parent}{os.pathsep}{cluster.environment['PATH']}"
        environment = os.environ | cluster.environment | {"PATH": path}
        words = ["snakemake", "preprocess", "--profile", "profiles/slurm"]
        began = time.monotonic()
        subprocess.run(words, cwd=clone.folder, env=environment, check=True, capture_output=True)
        seconds = time.monotonic() - began
        found = overheads(Path(config["results"]), environment)
    assert len(found) == args.partitions, f"{len(found)} jobs; expected: {args.partitions}"
    print(
        f"{len(found)} jobs in {seconds:.0f} s, {seconds / len(found):.1f} s a job; submit to done "
        f"minus work: median {statistics.median(found):.1f} s, least {min(found):.1f} s"
    )


def overheads(results: Path, environment: dict[str, str]) -> list[float]:
    """Seconds of each job from submission to its end, less its work."""
    work = {}
    for path in results.glob("benchmarks/texts/preprocess/*/part-*.tsv"):
        with path.open() as file:
            work[path.stem.removeprefix("part-")] = float(
                next(csv.DictReader(file, delimiter="\t"))["s"]
            )
    words = ["sacct", "-X", "-n", "-P", "--format=Submit,End,State,Comment"]
    lines = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    found = []
    for line in lines.stdout.splitlines():
        submit, end, state, comment = line.split("|")
        if state == "COMPLETED" and "preprocess_part" in comment:
            taken = datetime.fromisoformat(end) - datetime.fromisoformat(submit)
            found.append(taken.total_seconds() - work[comment.rpartition("_")[2]])
    return found


if __name__ == "__main__":
    main()
