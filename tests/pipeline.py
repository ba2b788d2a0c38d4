"""
Run the jobs of a config without Snakemake: the same command lines, in the order of the data.

    config = pipeline.texts(tmp_path, rows=150)
    pipeline.run(config)
    dataset = sampan.open(f"{config['results']}/texts")
"""

import atexit
import copy
import csv
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sampan.cli import main
from sampan.plan import Jobs, Plan, Stage
from sampan.plan.jobs import Settings

SOURCE = Path(__file__).resolve().parents[1] / "src"
WORDS = ("one", "deux", "drei", "четыре", "cinco", "六", "sette", "åtta", "nove", "dez")
STEPS = ("scan", "index", "preprocess", "extract")


def texts(folder: Path, *, rows: int = 150, **modality: Any) -> dict[str, Any]:
    """
    A table of `rows` short texts and its config: one modality `text`, one encoder `ngrams`.

    64 rows a job and 16 a shard, so that 150 rows make two whole partitions, one of 22 rows whose
    last shard holds 6, and one beyond the data. `modality` are more settings of the modality.
    """
    write_table(folder / "texts.csv", range(rows))
    return {
        "results": str(folder / "results"),
        "datasets": {
            "texts": {
                "source": [{"kind": "table", "path": str(folder / "texts.csv"), "key": "id"}],
                "capacity": 256,
                "rows_per_job": 64,
                "label": "word",
                "group": "speaker",
                "modalities": {
                    "text": {"kind": "text", "column": "text", "bytes": 32, "rows_per_shard": 16}
                    | modality
                },
                "features": {"text": ["ngrams"]},
            }
        },
        "encoders": {"ngrams": {"kind": "ngrams", "dimensions": 16, "rows_per_shard": 16}},
    }


def write_table(path: Path, rows: range) -> None:
    """Samples `s<i>` of 15 speakers; every fiftieth text is not valid, because it is blank."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "text", "word", "speaker"])
        for i in rows:
            table.writerow([f"s{i:04d}", text_of(i), WORDS[i % len(WORDS)], f"p{i % 15}"])


def text_of(i: int) -> str:
    return " " if i % 50 == 49 else f"{WORDS[i % len(WORDS)]} {i}"


def write_config(config: Mapping[str, Any], path: Path) -> Path:
    """The config as a file; JSON is YAML."""
    path.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
    return path


def results_of(config: Mapping[str, Any]) -> Path:
    return Path(config["results"])


def page_of(config: Mapping[str, Any]) -> Path:
    """Where the page of a config lies; its folder is made."""
    page = results_of(config) / Plan.parse(config).page
    page.parent.mkdir(parents=True, exist_ok=True)
    return page


def folder_of(config: Mapping[str, Any], name: str, dataset: str = "texts") -> Path:
    """The folder of the variant that a config makes of a modality or of "modality.encoder"."""
    plan = Plan.parse(config)
    return plan.results / stage_of(plan, name, dataset).folder


def stage_of(plan: Plan, name: str, dataset: str = "texts") -> Stage:
    return (plan.features if "." in name else plan.preprocessed)[dataset, name]


def commands(
    config: Mapping[str, Any], steps: Sequence[str] = STEPS, *, threads: int = 2
) -> Iterator[list[str]]:
    """
    The words of every command up to the features, as the rules have them; each after its inputs.
    """
    plan = Plan.parse(config)
    grant = ["--threads", str(threads), "--memory-mb", "8192", "--patience-seconds", "0"]
    for dataset in plan.config.datasets:
        parts = range(len(plan.parts(dataset)))
        if "scan" in steps:
            yield ["scan", *_common(plan, Jobs(plan).scan(dataset)), *grant]
        if "index" in steps:
            for part in parts:
                spec = _common(plan, Jobs(plan).index(dataset))
                yield ["index", *spec, "--part", str(part)]
            yield ["commit", *_common(plan, Jobs(plan).commit_index(dataset))]
    for step, stages in (("preprocess", plan.preprocessed), ("extract", plan.features)):
        if step not in steps:
            continue
        for (dataset, name), stage in stages.items():
            spec = getattr(Jobs(plan), step)(dataset, name)
            receipts = [str(path) for path in receipts_of(plan, stage)]
            for part, receipt in enumerate(receipts):
                place = ["--part", str(part), "--receipt", receipt]
                yield [step, *_common(plan, spec), *place, *grant]
            yield ["commit", *_common(plan, Jobs(plan).commit(stage))]


def receipts_of(plan: Plan, stage: Stage) -> list[Path]:
    folder = plan.results / stage.folder / "receipts"
    return [folder / f"part-{part}.json" for part in plan.parts(stage.dataset)]


def _common(plan: Plan, job: Settings) -> list[str]:
    return ["--spec", as_text(job), "--results", str(plan.results)]


def as_text(job: Settings) -> str:
    """A job's settings as its command gets them."""
    return json.dumps(job.to_json(), ensure_ascii=False)


def run(config: Mapping[str, Any], steps: Sequence[str] = STEPS, *, threads: int = 2) -> None:
    """Run the steps in this process; what a job is to write is removed first, as Snakemake does."""
    for words in commands(config, steps, threads=threads):
        remove_outputs(words)
        assert main(words) == 0, words


def remove_outputs(words: Sequence[str]) -> None:
    """Delete the receipt of a preprocess or extract job."""
    if "--receipt" in words:
        Path(words[words.index("--receipt") + 1]).unlink(missing_ok=True)


def sampan(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the `sampan` command in a process of its own, away from any terminal."""
    return subprocess.run(
        [sys.executable, "-m", "sampan.cli", *words],
        env=environment_of(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def environment_of(**more: str) -> dict[str, str]:
    """The environment in which a child finds sampan, and the folders in `PYTHONPATH` before it."""
    folders = filter(None, [more.pop("PYTHONPATH", None), str(SOURCE)])
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders)} | more


@functools.cache
def _finished() -> tuple[Path, dict[str, Any]]:
    folder = Path(tempfile.mkdtemp(prefix="sampan-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config = texts(folder)
    run(config, threads=1)
    return folder, config


def finished_texts(folder: Path) -> dict[str, Any]:
    """The config of `texts` with all its steps done, in a copy that a test may damage."""
    made, config = _finished()
    shutil.copytree(made, folder, dirs_exist_ok=True)
    own = copy.deepcopy(config)
    own["results"] = str(folder / "results")
    own["datasets"]["texts"]["source"][0]["path"] = str(folder / "texts.csv")
    before, after = Plan.parse(config), Plan.parse(own)
    for name in ("columns_file", "split_file"):
        old, new = (getattr(plan, name)("texts") for plan in (before, after))
        (after.results / old).rename(after.results / new)
    return own


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Path → content of all files below a folder, but for ledgers, whose names are an attempt's."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "ledger" not in path.parts
    }
