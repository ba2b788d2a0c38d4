"""
kill -9 at random moments of preprocess, extract and train; the final bytes must not differ.

    python benchmarks/kills.py [--kills 20] [--rows 1024] [--folder FOLDER]

Each trial starts the job from nothing, kills its whole process group at a random moment of the time
that an undisturbed one takes, starts it again, and compares what both made: arrays, quarantine and
receipt, or weights, roles and history.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from sampan.plan import Jobs, Plan
from sampan.plan.jobs import Settings
from sampan.store import ledger, ledger_files

FILES = 64
ROWS_PER_SHARD = 16
COMPARED = ("model.safetensors", "samples.parquet", "history.json")


class Step(NamedTuple):
    """A job: its command, and the folder that it alone writes."""

    name: str
    words: list[str]
    folder: Path


class Trial(NamedTuple):
    """A kill: when, what was recorded then, and what the restarted job made of it."""

    at_seconds: float
    done: int
    twice: int
    equal: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "kills-benchmark"
    )
    args = parser.parse_args()
    shutil.rmtree(args.folder, ignore_errors=True)
    plan = Plan.parse(make_pictures(args.folder, args.rows))
    run_all(index_commands(plan))
    chance = random.Random(0)
    print("| step | s | kills at s | done at a kill | done twice | bytes equal |")
    print("|---|---|---|---|---|---|")
    for step in steps(plan, args.threads):
        seconds = run(step.words)
        expected = bytes_of(step)
        trials = []
        for _ in range(args.kills):
            trials.append(trial(step, chance.uniform(0, seconds), expected))
        print(
            f"| {step.name} | {seconds:.1f} | "
            f"{', '.join(f'{found.at_seconds:.1f}' for found in trials)} | "
            f"{', '.join(str(found.done) for found in trials)} | "
            f"{sum(found.twice for found in trials)} | "
            f"{sum(found.equal for found in trials)} of {args.kills} |",
            flush=True,
        )
        commit(plan, step)


def trial(step: Step, seconds: float, expected: dict[str, bytes]) -> Trial:
    shutil.rmtree(step.folder)
    process = start(step.words)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = finished(step)
    run(step.words)
    twice = sum(times - 1 for times in Counter(recorded(step)).values())
    return Trial(seconds, done, twice, bytes_of(step) == expected)


def finished(step: Step) -> int:
    """Shards that are recorded, or the steps of the newest checkpoint."""
    if step.name == "train":
        found = step.folder.glob("checkpoints/step-*")
        return max((int(path.name[5:]) for path in found), default=0)
    return len(set(recorded(step)))


def recorded(step: Step) -> list[int]:
    return [
        shard
        for file in ledger_files.files(step.folder / "ledger")
        for shard, record in ledger.read(file.path)
        if record is not None
    ]


def bytes_of(step: Step) -> dict[str, bytes]:
    """What must not depend on kills: not the ledgers of the attempts, nor temporary files."""
    if step.name == "train":
        return {name: (step.folder / name).read_bytes() for name in COMPARED}
    return {
        str(path.relative_to(step.folder)): path.read_bytes()
        for part in ("data.zarr", "quarantine", "receipts", "layout.json")
        for path in [step.folder / part, *sorted((step.folder / part).rglob("*"))]
        if path.is_file()
    }


def start(words: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sampan.cli", *words]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


def run(words: list[str]) -> float:
    """Seconds until it ended well."""
    began = time.monotonic()
    if start(words).wait():
        raise SystemExit(f"failed: sampan {' '.join(words)}")
    return time.monotonic() - began


def run_all(commands: Iterator[list[str]]) -> None:
    for words in commands:
        run(words)


def index_commands(plan: Plan) -> Iterator[list[str]]:
    yield words(plan, "scan", Jobs(plan).scan("pictures"))
    yield words(plan, "index", Jobs(plan).index("pictures"), "--part", "0")
    yield words(plan, "commit", Jobs(plan).commit_index("pictures"))


def steps(plan: Plan, threads: int) -> Iterator[Step]:
    grant = ["--threads", str(threads), "--memory-mb", "16384"]
    for name, stage, spec in (
        ("preprocess", plan.preprocessed["pictures", "image"], Jobs(plan).preprocess),
        ("extract", plan.features["pictures", "image.hog"], Jobs(plan).extract),
    ):
        folder = plan.results / stage.folder
        where = ["--part", "0", "--receipt", str(folder / "receipts/part-00000.json")]
        spec_of = spec("pictures", stage.name)
        yield Step(name, words(plan, name, spec_of, *where, *grant), folder)
    folder = plan.results / plan.models["class"].folder
    yield Step("train", words(plan, "train", Jobs(plan).train("class"), *grant), folder)


def commit(plan: Plan, step: Step) -> None:
    for stage in (*plan.preprocessed.values(), *plan.features.values()):
        if plan.results / stage.folder == step.folder:
            run(words(plan, "commit", Jobs(plan).commit(stage)))


def words(plan: Plan, verb: str, job: Settings, *more: str) -> list[str]:
    return [verb, "--spec", json.dumps(job.to_json()), "--results", str(plan.results), *more]


def make_pictures(folder: Path, rows: int) -> dict[str, Any]:
    """`rows` JPEG files of 500 × 375, of which 64 differ and one is cut; their config."""
    (folder / "images").mkdir(parents=True)
    for i in range(FILES):
        noise = np.random.default_rng(i).integers(0, 128, (375, 500, 3), np.uint8)
        noise[40 * (i % 4) : 40 * (i % 4) + 200, 100:300, i % 3] += 120
        PIL.Image.fromarray(noise).save(folder / f"images/{i}.jpg", quality=80)
    cut = (folder / "images/7.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(cut[: len(cut) // 2])
    names = [f"images/{i % FILES}.jpg" for i in range(rows)]
    names[7] = "cut.jpg"
    lines = [f"p{i:05d},{name},{i % 4}" for i, name in enumerate(names)]
    (folder / "pictures.csv").write_text("\n".join(["id,file,class", *lines, ""]))
    image = {"kind": "image", "column": "file", "height": 64, "width": 64}
    capacity = 1 << (rows - 1).bit_length()
    return {
        "results": str(folder / "results"),
        "datasets": {
            "pictures": {
                "source": [{"kind": "table", "path": str(folder / "pictures.csv"), "key": "id"}],
                "capacity": capacity,
                "rows_per_job": capacity,
                "label": "class",
                "split": {"validation": 0.2, "test": 0.2},
                "modalities": {"image": image | {"rows_per_shard": ROWS_PER_SHARD}},
                "features": {"image": ["hog"]},
            }
        },
        "encoders": {"hog": {"kind": "hog", "rows_per_shard": ROWS_PER_SHARD}},
        "models": {
            "class": {
                "dataset": "pictures",
                "task": "classify",
                "inputs": ["image.hog"],
                "epochs": 60,
                "stop_after_epochs": 60,
                "batch_size": 64,
            }
        },
    }


if __name__ == "__main__":
    main()
