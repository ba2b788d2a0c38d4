"""
Peak memory of one `sampan preprocess` job over 1,000 and over 20,000 JPEG files: it must not grow.

    python benchmarks/memory.py [1000 20000] [--folder FOLDER]

500 different pictures of 500 × 375, made from noise and rectangles, under as many names as there
are rows. Measured every 50 ms over the job and all its descendants: the resident memory of the
largest process, and the sum of their proportional set sizes, which counts shared pages once.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from sampan.plan import Plan

FILES = 500
EVERY_SECONDS = 0.05


class Peak(NamedTuple):
    """Memory in bytes at most, and how long the job took."""

    seconds: float
    largest: int
    tree: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("rows", type=int, nargs="*", default=[1_000, 20_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "memory-benchmark"
    )
    args = parser.parse_args()
    shutil.rmtree(args.folder, ignore_errors=True)
    make_pictures(args.folder / "pictures")
    print("| rows | seconds | rows/s | largest process, MB | all processes (PSS), MB |")
    print("|---|---|---|---|---|")
    for rows in args.rows:
        found = measure(args.folder, rows, args.threads)
        print(
            f"| {rows:,} | {found.seconds:.1f} | {rows / found.seconds:,.0f} | "
            f"{found.largest / 1e6:,.0f} | {found.tree / 1e6:,.0f} |",
            flush=True,
        )
    shutil.rmtree(args.folder)


def measure(folder: Path, rows: int, threads: int) -> Peak:
    """Index `rows` names of the pictures, then preprocess them in one job."""
    plan = Plan.parse(config(folder, rows))
    stage = plan.preprocessed["pictures", "image"]
    receipt = plan.results / stage.folder / "receipts/part-00000.json"

    def sampan(verb: str, spec: dict[str, Any], *more: str) -> list[str]:
        command = [sys.executable, "-m", "sampan.cli", verb, "--spec", json.dumps(spec)]
        return [*command, "--results", str(plan.results), *more]

    index = sampan("index", plan.index_spec("pictures"), "--part", "0")
    for words in (sampan("scan", plan.scan_spec("pictures")), index):
        subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
    where = ["--part", "0", "--receipt", str(receipt)]
    grant = ["--threads", str(threads), "--memory-mb", "16384"]
    words = sampan("preprocess", plan.preprocess_spec("pictures", "image"), *where, *grant)
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


def make_pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    for i in range(FILES):
        random = np.random.default_rng(i)
        pixels = random.integers(0, 64, (375, 500, 3), np.uint8)
        for _ in range(8):
            top, left = random.integers(0, 300), random.integers(0, 400)
            pixels[top : top + 75, left : left + 100] += random.integers(0, 180, 3, np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{i}.jpg", quality=85)


def config(folder: Path, rows: int) -> dict[str, Any]:
    """`rows` hard links to the pictures, a table of them, and the config; one partition."""
    links = folder / f"links-{rows}"
    links.mkdir()
    for i in range(rows):
        os.link(folder / f"pictures/{i % FILES}.jpg", links / f"{i}.jpg")
    table = folder / f"pictures-{rows}.csv"
    lines = [f"p{i:07d},{links.name}/{i}.jpg" for i in range(rows)]
    table.write_text("\n".join(["id,file", *lines, ""]))
    capacity = 1 << (rows - 1).bit_length()
    image = {"kind": "image", "column": "file", "height": 224, "width": 224}
    dataset = {
        "source": [{"kind": "table", "path": str(table), "key": "id"}],
        "capacity": capacity,
        "rows_per_job": capacity,
        "modalities": {"image": image},
    }
    return {"results": str(folder / f"results-{rows}"), "datasets": {"pictures": dataset}}


if __name__ == "__main__":
    main()
