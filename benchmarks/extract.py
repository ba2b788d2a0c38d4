"""
From stored rows, or from the source, to embeddings; beside the bare models and decoders.

    python benchmarks/extract.py [image text audio] [--repeats 3]

A job's time is that from its first shard's beginning to its last one's end, as its log says it:
without the start of workers and the loading of weights, which the bare loops do not count either.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import goals
import jobs
import models
import sounds
from goals import Found, Report, in_turns, ratios
from pictures import link, write_pictures

from sampan.plan import Plan

HERE = Path(__file__).parent
SIDE = 224
ROWS = {"tiny": 768, "small": 256, "base": 96}
"""Pictures for each shape: some fifteen to thirty seconds on two cores."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("only", nargs="*", help="of image, text, audio")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--captions", type=int, default=20_000)
    parser.add_argument("--clips", type=int, default=1_500)
    parser.add_argument("--folder", type=Path, default=jobs.IN_MEMORY)


def measure(args: argparse.Namespace) -> Report:
    report = Report()
    for name in args.only or ("image", "text", "audio"):
        folder = args.folder / "extract-benchmark"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        found = {"image": image, "text": text, "audio": audio}[name](folder, args)
        report.found += found.found
        report.figures |= found.figures
        shutil.rmtree(folder)
    return report


def image(folder: Path, args: argparse.Namespace) -> Report:
    """Stored pictures through vision transformers."""
    rows = max(ROWS.values())
    files = write_pictures(folder / "pictures", 128)
    names = link(files, folder / "links", rows)
    report = Report()
    for shape, count in ROWS.items():
        batch = 32
        table = folder / f"{shape}.csv"
        jobs.write_table(table, "file", [f"links/{name}" for name in names[:count]])
        entry = models.vision_transformer(folder / shape, shape, batch)
        modality = {"kind": "image", "column": "file", "height": SIDE, "width": SIDE}
        modality |= {"fit": "stretch"}
        plan = prepared(folder / f"results-{shape}", table, modality, count, entry, args.threads)
        beside(
            report,
            Found(
                hop=f"extract, ViT {shape}, stored pictures",
                measured="÷ the bare model on resident tensors",
                values=(),
                goal=0.92,
            ),
            bound=partial(bare, "pictures", folder / shape, count, batch, args),
            ours=partial(extracted, plan, "image.it", args),
            rows=count,
            repeats=args.repeats,
        )
    return report


def text(folder: Path, args: argparse.Namespace) -> Report:
    """Captions through a sentence encoder."""
    count, batch = args.captions, 64
    table = folder / "captions.csv"
    jobs.write_table(table, "caption", models.captions(count))
    # As large as in a partition of a million rows: among few rows few are of like length.
    shard = min(4096, jobs.capacity_of(count))
    entry = models.minilm(folder / "minilm", batch) | {"rows_per_shard": shard}
    modality = {"kind": "text", "column": "caption"}
    plan = prepared(folder / "results", table, modality, count, entry, args.threads)
    report = Report()
    beside(
        report,
        Found(
            hop="extract, MiniLM, captions",
            measured="÷ the bare model on tokens sorted by length",
            values=(),
            goal=0.92,
        ),
        bound=partial(bare, "texts", folder / "minilm", count, batch, args),
        ours=partial(extracted, plan, "text.it", args),
        rows=count,
        repeats=args.repeats,
    )
    return report


def audio(folder: Path, args: argparse.Namespace) -> Report:
    """Clips of ten seconds straight into log-mel features, nothing stored in between."""
    count = args.clips
    names = sounds.write_clips(folder / "clips", count)
    table = folder / "clips.csv"
    jobs.write_table(table, "file", [f"clips/{name}" for name in names])
    modality = {"kind": "audio", "column": "file", "store": False}
    modality |= {"seconds": sounds.SECONDS, "rate_hz": sounds.RATE_HZ}
    plan = prepared(folder / "results", table, modality, count, {"kind": "logmel"}, args.threads)
    report = Report()
    beside(
        report,
        Found(
            hop="10 s clips → log-mel",
            measured="÷ decoding and resampling alone",
            values=(),
            goal=0.6,
        ),
        bound=partial(sounds.decoded, folder / "clips", count),
        ours=partial(extracted, plan, "audio.it", args),
        rows=count,
        repeats=args.repeats,
    )
    return report


def beside(
    report: Report,
    found: Found,
    *,
    bound: Callable[[], float],
    ours: Callable[[], jobs.Job],
    rows: int,
    repeats: int,
) -> None:
    """Add `found`, with sampan's rate over its bound's of each turn, and the rates behind it."""
    done: list[jobs.Job] = []

    def rate() -> float:
        done.append(ours())
        return rows / done[-1].seconds_at_work

    seen = in_turns({"bound": lambda: rows / bound(), "sampan": rate}, repeats)
    values = ratios(seen["sampan"], seen["bound"])
    report.found.append(replace(found, values=values))
    for name, rates in seen.items():
        report.figures[f"{found.hop}, {name}, rows/s"] = round(statistics.median(rates), 1)
    report.figures[f"{found.hop}, sampan's job"] = done[-1].busy


def prepared(
    results: Path,
    table: Path,
    modality: dict[str, Any],
    rows: int,
    encoder: dict[str, Any],
    threads: int,
) -> Plan:
    """Everything that comes before the encoder is made."""
    kind = modality["kind"]
    config = jobs.one_partition(results, table, modality, rows, features={kind: ["it"]})
    plan = Plan.parse(config | {"encoders": {"it": encoder}})
    jobs.index(plan, "rows")
    if modality.get("store", True):
        jobs.run(jobs.stage_command(plan, "preprocess", "rows", kind, threads=threads))
    return plan


def extracted(plan: Plan, name: str, args: argparse.Namespace) -> jobs.Job:
    """The job; what it made is removed."""
    done = jobs.run(jobs.stage_command(plan, "extract", "rows", name, threads=args.threads))
    shutil.rmtree(plan.results / plan.features["rows", name].folder)
    return done


def bare(what: str, folder: Path, rows: int, batch: int, args: argparse.Namespace) -> float:
    words = [sys.executable, str(HERE / "models.py"), what, str(folder), str(rows), str(batch)]
    env = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds: float = json.loads(done.stdout.splitlines()[-1])["seconds"]
    return seconds


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
