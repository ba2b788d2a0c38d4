"""A finished run with the benchmarks and events that Snakemake would have left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pipeline
from told import STARTED, worked, write_events

from sampan.plan import Plan

HEAD = "s\th:m:s\tmax_rss\tcpu_time\n"
PARTS = 3
"""Partitions of `pipeline.texts` that hold samples: two of 64 rows and one of 22."""


def write_benchmark(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEAD}{seconds}\t0:00:00\t100.0\t1.0\n")


def measured_texts(folder: Path) -> dict[str, Any]:
    """
    `pipeline.texts`, finished. Preprocessing did 200 samples/s and extraction 400, both after two
    seconds of start-up; a commit took half a second, index jobs 2.5 s, the scan 3.5 s.
    """
    config = pipeline.finished_texts(folder)
    plan = Plan.parse(config)
    benchmarks, logs = plan.results / "benchmarks/texts", plan.results / "logs/texts"
    write_benchmark(benchmarks / "scan/scan.tsv", 3.5)
    write_benchmark(benchmarks / "index/commit.tsv", 0.5)
    for part in range(4):
        write_benchmark(benchmarks / f"index/part-{part:05d}.tsv", 2.5 if part < PARTS else 0.6)
    for step, name, rate in (("preprocess", "text", 200), ("extract", "text.ngrams", 400)):
        variant = pipeline.stage_of(plan, name).variant
        for part, rows in enumerate((64, 64, 22)):
            place = f"{step}/{variant}/part-{part:05d}"
            write_benchmark(benchmarks / f"{place}.tsv", 2 + rows / rate)
            write_events(logs / f"{place}.log", STARTED, worked(rows, rows / rate))
    return config


def changed(config: Mapping[str, Any], **encoder: Any) -> dict[str, Any]:
    """The config with more settings of its encoder, and so another variant of it."""
    ngrams = config["encoders"]["ngrams"] | encoder
    return {**config, "encoders": {"ngrams": ngrams}}
