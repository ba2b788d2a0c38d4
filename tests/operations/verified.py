"""
A finished run of two partitions, one modality, one encoder and one model, to be damaged.

`run_missing` makes what is not there, as Snakemake would, in this process.
"""

import atexit
import contextlib
import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pipeline

from sampan.cli import main
from sampan.plan import Jobs, Plan, Stage

ROWS = 40
INVALID, LONG = (5, 17, 35), (2, 38)


def config_in(folder: Path) -> dict[str, Any]:
    """Its paths are relative to the folder, so that copies of it are equal byte by byte."""
    config = pipeline.texts(folder, rows=ROWS, rows_per_shard=8)
    # Texts that are not valid, in both partitions; some are too long and so have a note.
    lines = (folder / "texts.csv").read_text().splitlines()
    for row in INVALID:
        key, _, word, speaker = lines[row + 1].split(",")
        lines[row + 1] = f"{key}, ,{word},{speaker}"
    for row in LONG:
        key, _, word, speaker = lines[row + 1].split(",")
        lines[row + 1] = f"{key},{'long ' * 10},{word},{speaker}"
    (folder / "texts.csv").write_text("\n".join(lines) + "\n")
    dataset = config["datasets"]["texts"] | {"capacity": 64, "rows_per_job": 32}
    dataset["source"] = [{"kind": "table", "path": "texts.csv", "key": "id"}]
    dataset["split"] = {"train": 0.5, "validation": 0.25, "test": 0.25}
    dataset["modalities"]["text"]["max_invalid"] = 0.5
    model = {"task": "classify", "inputs": ["text.ngrams"], "epochs": 2, "bootstrap": 100}
    return config | {
        "results": "results",
        "datasets": {"texts": dataset},
        "models": {"word": {"dataset": "texts"} | model},
        "encoders": {"ngrams": {"kind": "ngrams", "dimensions": 16, "rows_per_shard": 16}},
    }


@functools.cache
def finished() -> tuple[Path, dict[str, Any]]:
    """The folder and the config of a finished run, to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="sampan-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config = config_in(folder)
    with contextlib.chdir(folder):
        run_missing(config)
    return folder, config


class Job(NamedTuple):
    words: list[str]
    inputs: list[Path]
    outputs: list[Path]


def jobs(config: Mapping[str, Any]) -> Iterator[Job]:
    """All jobs of the config in the order of the data, as the rules have them."""
    plan = Plan.parse(config)
    results = plan.results
    index = results / "texts/index"
    plans = [results / path for path in plan.plan_files("texts")]
    columns = results / plan.columns_file("texts")
    parts = plan.parts("texts")
    commands = iter(list(pipeline.commands(config, threads=1)))
    yield Job(next(commands), [], [*plans, columns])
    listed = []
    for number, part in enumerate(parts):
        receipts = [index / f"receipts/{name}/part-{part}.json" for name in ("columns", "text")]
        outputs = [index / f"part-{part}.parquet", *receipts]
        yield Job(next(commands), [plans[number], columns], outputs)
        listed.append(receipts[0])
    yield Job(next(commands), listed, [index / "dataset.json"])
    above = [index / f"receipts/text/part-{part}.json" for part in parts]
    for stage in (*plan.preprocessed.values(), *plan.features.values()):
        receipts = pipeline.receipts_of(plan, stage)
        for receipt, upstream in zip(receipts, above, strict=True):
            yield Job(next(commands), [upstream], [receipt])
        yield Job(next(commands), receipts, [results / stage.folder / "dataset.json"])
        above = receipts
    yield from _model_jobs(plan, plan.models["word"])


def _model_jobs(plan: Plan, stage: Stage) -> Iterator[Job]:
    spec = json.dumps(Jobs(plan).train(stage.name).to_json(), ensure_ascii=False)
    grant = ["--threads", "1", "--memory-mb", "4096", "--patience-seconds", "0"]
    common = ["--spec", spec, "--results", str(plan.results), *grant]
    folder = plan.results / stage.folder
    features = [plan.results / one.folder / "dataset.json" for one in plan.features.values()]
    names = ("model.safetensors", "samples.parquet", "history.json")
    trained = [folder / name for name in names]
    yield Job(["train", *common], features, trained)
    names = ("metrics.json", "predictions.parquet", "model.json")
    yield Job(["evaluate", *common], trained, [folder / name for name in names])


def run_missing(config: Mapping[str, Any]) -> list[str]:
    """
    Run the jobs that lack an output or whose input has other bytes than it had; returns their
    verbs. Outputs go before a job runs.
    """
    ran = []
    changed: set[Path] = set()
    for job in jobs(config):
        if all(path.exists() for path in job.outputs) and changed.isdisjoint(job.inputs):
            continue
        before = {path: _bytes(path) for path in job.outputs}
        for path in job.outputs:
            path.unlink(missing_ok=True)
        assert main(job.words) == 0, job.words
        changed |= {path for path, data in before.items() if _bytes(path) != data}
        ran.append(job.words[0])
    return ran


def _bytes(path: Path) -> bytes | None:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def edited(path: Path, change: Callable[[Any], Any]) -> None:
    """A JSON file with another content, written as it was."""
    value = json.loads(path.read_text())
    changed = change(value)
    text = json.dumps(value if changed is None else changed, indent=1, sort_keys=True)
    path.write_text(f"{text}\n")


def ledger_lines(folder: Path) -> dict[Path, list[dict[str, Any]]]:
    return {
        path: [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted((folder / "ledger").rglob("*.jsonl"))
    }


def edit_records(stage: Path, shards: Sequence[int], **changes: Any) -> None:
    """Records of these shards with other values; a function changes the value that is there."""
    for path, lines in ledger_lines(stage).items():
        for line in lines:
            if line["shard"] in shards:
                for name, value in changes.items():
                    line[name] = value(line[name]) if callable(value) else value
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
