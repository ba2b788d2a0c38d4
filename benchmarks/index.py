"""
Rows a CPU second and peak memory of `sampan scan` and `sampan index` on a table of N rows.

    python benchmarks/index.py [--rows 1000000] [--folder FOLDER]

A row has a key, two paths, a caption, a label and a group, about 110 bytes. Each step runs in a
process of its own, one thread, so that its peak memory (maximum resident set) is its own; the index
runs all its partitions of 262,144 rows one after another.

Measured on 2 virtual cores that other work shared, Python 3.11, local disk:

| table | rows | MB | step | seconds | CPU seconds | rows/CPU s | peak MB |
|---|---|---|---|---|---|---|---|
| csv | 1,000,000 | 139 | scan | 4.5 | 4.6 | 215,962 | 182 |
| csv | 1,000,000 | 139 | index | 6.3 | 6.3 | 157,501 | 172 |
| jsonl | 1,000,000 | 209 | scan | 11.7 | 7.0 | 143,601 | 182 |
| jsonl | 1,000,000 | 209 | index | 12.7 | 8.5 | 117,498 | 172 |
| csv | 10,000,000 | 1,411 | scan | 51.5 | 45.4 | 220,304 | 307 |
| csv | 10,000,000 | 1,411 | index | 70.3 | 60.5 | 165,370 | 179 |
| jsonl | 10,000,000 | 2,111 | scan | 71.4 | 65.2 | 153,310 | 307 |
| jsonl | 10,000,000 | 2,111 | index | 79.9 | 76.9 | 130,102 | 179 |

The scan's peak is the sort of key hashes, in blocks of 2,097,152 rows.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import goals
from goals import Found, Report

from sampan.plan import Jobs, Plan

ROWS_PER_JOB = 2**18
COLUMNS = ("id", "image", "sound", "caption", "label", "group")
INDEX_ALL = """
import json, sys
from pathlib import Path
from sampan.steps.index import index_part
from sampan.index.parts import IndexFolder
from sampan.plan.jobs import IndexJob
job, folder = IndexJob.from_json(json.loads(sys.argv[1])), IndexFolder(Path(sys.argv[2]))
for part in range(int(sys.argv[3])):
    index_part(job, folder, part)
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))


def measure(args: argparse.Namespace) -> Report:
    folder, report = args.folder / "index-benchmark", Report()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for ending, write in (("csv", write_csv), ("jsonl", write_jsonl)):
        table = folder / f"table.{ending}"
        write(table, args.rows)
        for step, seconds, cpu_seconds, peak in steps(table, args.rows, folder / "results"):
            if step == "scan":
                report.found.append(
                    Found(
                        hop=f"scan of a {ending} table of {args.rows:,} rows",
                        measured="million rows a CPU second",
                        values=(args.rows / cpu_seconds / 1e6,),
                        goal=1.5,
                        unit="M/s",
                        note="one run",
                    )
                )
            report.figures[f"{step}, {ending}"] = (
                f"{seconds:.1f} s, {cpu_seconds:.1f} CPU s, {args.rows / cpu_seconds:,.0f} rows "
                f"a CPU second, {peak / 1e6:,.0f} MB at most"
            )
        table.unlink()
    shutil.rmtree(folder)
    return report


def steps(table: Path, rows: int, results: Path) -> Iterator[tuple[str, float, float, int]]:
    """(step, seconds, CPU seconds, peak bytes) of the scan, then of the index of all partitions."""
    shutil.rmtree(results, ignore_errors=True)
    plan = Plan.parse(config(table, rows))
    scan, index = (json.dumps(job("rows").to_json()) for job in (Jobs(plan).scan, Jobs(plan).index))
    command = [sys.executable, "-m", "sampan.cli", "scan", "--spec", scan]
    yield "scan", *run([*command, "--results", str(results)])
    folder = str(results / "rows" / "index")
    parts = str(len(plan.parts("rows")))
    yield "index", *run([sys.executable, "-c", INDEX_ALL, index, folder, parts])
    shutil.rmtree(results)


def config(table: Path, rows: int) -> dict[str, Any]:
    modalities = {
        "image": {"kind": "image", "column": "image", "height": 32, "width": 32},
        "sound": {"kind": "audio", "column": "sound", "rate_hz": 8000, "seconds": 1.0},
        "caption": {"kind": "text", "column": "caption"},
    }
    dataset = {
        "source": [{"kind": "table", "path": str(table), "key": "id"}],
        "capacity": -(-rows // ROWS_PER_JOB) * ROWS_PER_JOB,
        "rows_per_job": ROWS_PER_JOB,
        "label": "label",
        "group": "group",
        "modalities": modalities,
    }
    return {"datasets": {"rows": dataset}}


def run(command: list[str]) -> tuple[float, float, int]:
    start = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {command[:5]}")
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return time.monotonic() - start, cpu_seconds, usage.ru_maxrss * 1024


def samples(rows: int) -> Iterator[tuple[str, ...]]:
    for i in range(rows):
        folder = f"{i // 1000:06d}"
        caption = f"a photo, number {i}, of a lighthouse on a rock"
        yield (
            f"sample-{i:09d}", f"images/{folder}/{i:09d}.jpg", f"sounds/{folder}/{i:09d}.wav",
            caption, str(i % 10), f"group-{i // 7}",
        )  # fmt: skip


def write_csv(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\n")
        for key, image, sound, caption, label, group in samples(rows):
            file.write(f'{key},{image},{sound},"{caption}",{label},{group}\n')


def write_jsonl(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in samples(rows):
            file.write(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n")


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
