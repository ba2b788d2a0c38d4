"""A small run from raw files to evaluated models, made with the verbs that the rules call."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from sampan.cli import main
from sampan.plan import Jobs, Plan
from sampan.plan.jobs import Settings

ROWS = 96
BROKEN, BLANK, TWICE = 5, 7, 11
"""Rows with a truncated image, a caption of white space, and the key of the row before."""
WORDS = ("zero", "one", "two", "three")


def make_source(folder: Path) -> Path:
    """A table of squares in four places, each with a caption; a caption repeats every 8 rows."""
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    lines = []
    for row in range(ROWS):
        digit = row % 4
        pixels = random.integers(0, 40, (16, 16), np.uint8)
        y, x = divmod(digit, 2)
        pixels[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += 180
        file = io.BytesIO()
        PIL.Image.fromarray(pixels).save(file, "PNG")
        data = file.getvalue()[:60] if row == BROKEN else file.getvalue()
        (folder / f"images/{row}.png").write_bytes(data)
        article = ("a", "the")[row // 4 % 2]
        caption = "   " if row == BLANK else f"{article} {WORDS[digit]} 数字"
        key = f"sample-{row - 1 if row == TWICE else row:03d}"
        lines.append((key, f"images/{row}.png", caption, digit))
    table = folder / "samples.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "file", "words", "digit"), *lines])
    return table


def config_of(table: Path, results: Path, **models: dict[str, Any]) -> dict[str, Any]:
    return {
        "results": str(results),
        "datasets": {
            "squares": {
                "source": [{"kind": "table", "path": str(table), "key": "id"}],
                "capacity": 128,
                "rows_per_job": 64,
                "on_duplicate": "quarantine",
                "label": "digit",
                "split": {"validation": 0.2, "test": 0.3},
                "modalities": {
                    "image": {"kind": "image", "column": "file", "height": 16, "width": 16}
                    | {"channels": 1},
                    "caption": {"kind": "text", "column": "words", "bytes": 32},
                },
                "features": {"image": ["hog"], "caption": ["ngrams"]},
            }
        },
        "encoders": {
            "hog": {"kind": "hog"},
            "ngrams": {"kind": "ngrams", "dimensions": 64},
        },
        "models": {name: {"dataset": "squares"} | model for name, model in models.items()},
    }


def make(config: dict[str, Any]) -> None:
    """Everything but the report, in one process; verbs that have nothing to do end at once."""
    plan = Plan.parse(config)
    results = Path(config["results"])
    _verb("scan", Jobs(plan).scan("squares"), results)
    parts = plan.parts("squares")
    for part in parts:
        _verb("index", Jobs(plan).index("squares"), results, "--part", part)
    _verb("commit", Jobs(plan).commit_index("squares"), results)
    for stage in (*plan.preprocessed.values(), *plan.features.values()):
        is_feature = stage.kind == "features"
        make_job = Jobs(plan).extract if is_feature else Jobs(plan).preprocess
        receipts = [results / stage.folder / f"receipts/part-{part}.json" for part in parts]
        for part, receipt in zip(parts, receipts, strict=True):
            verb = "extract" if is_feature else "preprocess"
            where = ("--part", part, "--receipt", str(receipt))
            _verb(verb, make_job(stage.dataset, stage.name), results, *where)
        _verb("commit", Jobs(plan).commit(stage), results)
    for name in plan.models:
        _verb("train", Jobs(plan).train(name), results)
        _verb("evaluate", Jobs(plan).train(name), results)


def _verb(verb: str, job: Settings, results: Path, *more: str) -> None:
    words = [verb, "--spec", json.dumps(job.to_json()), "--results", str(results), *more]
    assert main(words) == 0, f"sampan {verb} failed"
