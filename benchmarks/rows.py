"""
What training holds of each row beside its features, and how long `sampan.open` takes.

    python benchmarks/rows.py [--rows 1000000 3000000] [--folder FOLDER]

Tables with a key, a label of ten, a group and a text, scanned and indexed by the real jobs. Then,
in processes of their own: the splits, labels, roles and targets of a classification with one
feature, as `sampan train` has them; the bytes a row are the slope of the peak memory between the
fewest and the most rows. And `sampan.open`, from an interpreter that has imported it and xarray.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import goals
import jobs
from goals import Found, Report, in_turns
from index import INDEX_ALL

from sampan.plan import Jobs, Plan

ROWS_PER_JOB = 2**18
HELD = """
import sys
from pathlib import Path
import numpy as np
from sampan.config.split import SplitSettings
from sampan.index.columns import coded, split_codes
from sampan.index.parts import Index, IndexFolder
from sampan.models.targets import class_targets
from sampan.training.roles import LEFT_OUT, assign_roles

def samples(index, rows):
    labels = coded(index, "label")
    roles = assign_roles(
        split_codes(index, SplitSettings()),
        valid={"text.ngrams": np.ones(rows, bool)},
        absent={"text": np.zeros(rows, bool)},
        labelled=labels.codes >= 0,
        unusable=coded(index, "reason"),
    )
    targets = class_targets(*labels, roles.roles != LEFT_OUT)
    return roles, targets, roles.rows("train"), roles.rows("validation")

index = Index(IndexFolder(Path(sys.argv[1])))
held = samples(index, index.rows)
status = Path("/proc/self/status").read_text()
print(1024 * int(status.split("VmHWM:")[1].split()[0]))
"""
OPEN = """
import sys, time
import xarray, sampan
began = time.perf_counter()
found = sampan.open(sys.argv[1])
print(time.perf_counter() - began)
assert found.sizes["sample"] == int(sys.argv[2]), found
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs=2, default=[1_000_000, 3_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=jobs.IN_MEMORY)


def measure(args: argparse.Namespace) -> Report:
    folder = args.folder / "rows-benchmark"
    shutil.rmtree(folder, ignore_errors=True)
    few, many = args.rows
    datasets = {rows: indexed(folder / str(rows), rows) for rows in args.rows}
    ways = {
        f"peak bytes of {rows:,} rows": lambda place=datasets[rows]: run(HELD, str(place / "index"))
        for rows in args.rows
    }
    ways["open, s"] = lambda: run(OPEN, str(datasets[few]), str(few))
    seen = in_turns(ways, args.repeats)
    small, large, opened = seen.values()
    shutil.rmtree(folder)
    return Report(
        [
            Found(
                hop="train, a row beside its features",
                measured="bytes of peak memory",
                values=tuple((b - a) / (many - few) for a, b in zip(small, large, strict=True)),
                goal=16,
                at_most=True,
                unit="B",
            ),
            Found(
                hop=f"sampan.open, {few:,} rows",
                measured="seconds",
                values=tuple(opened),
                goal=0.3,
                at_most=True,
                unit="s",
            ),
        ]
    )


def indexed(folder: Path, rows: int) -> Path:
    """The dataset's folder in the results."""
    folder.mkdir(parents=True)
    table = folder / "table.csv"
    with table.open("w") as file:
        file.write("id,text,label,speaker\n")
        file.writelines(
            f"sample-{row:09d},text {row},{row % 10},s{row % 99_991}\n" for row in range(rows)
        )
    dataset = {
        "source": [{"kind": "table", "path": str(table), "key": "id"}],
        "capacity": -(-rows // ROWS_PER_JOB) * ROWS_PER_JOB,
        "rows_per_job": ROWS_PER_JOB,
        "label": "label",
        "group": "speaker",
        "modalities": {"text": {"kind": "text", "column": "text", "bytes": 32}},
    }
    plan = Plan.parse({"results": str(folder / "results"), "datasets": {"rows": dataset}})
    jobs.run(jobs.command(plan, "scan", Jobs(plan).scan("rows")))
    parts = len(plan.parts("rows"))
    spec = json.dumps(Jobs(plan).index("rows").to_json())
    place = plan.results / "rows"
    subprocess.run([sys.executable, "-c", INDEX_ALL, spec, place / "index", str(parts)], check=True)
    jobs.run(jobs.command(plan, "commit", Jobs(plan).commit_index("rows")))
    return place


def run(code: str, *words: str) -> float:
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout)


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
