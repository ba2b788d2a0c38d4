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
import tempfile
from collections.abc import Callable
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
    memory = Path("/dev/shm")
    parser.add_argument("only", nargs="*", help="of image, text, audio")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--captions", type=int, default=20_000)
    parser.add_argument("--clips", type=int, default=1_500)
    parser.add_argument(
        "--folder", type=Path, default=memory if memory.is_dir() else Path(tempfile.gettempdir())
    )


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
        seen = in_turns(
            {
                "bare model": partial(
                    rate, count, bare, "pictures", folder / shape, count, batch, args
                ),
                "sampan": partial(
                    rate, count, extracted, plan, "image.it", args, report, f"ViT {shape}"
                ),
            },
            args.repeats,
        )
        report.found.append(
            Found(
                hop=f"extract, ViT {shape}, stored pictures",
                measured="÷ the bare model on resident tensors",
                values=ratios(seen["sampan"], seen["bare model"]),
                goal=0.92,
            )
        )
        report.figures |= rates(f"ViT {shape}", "images/s", seen)
    return report


def text(folder: Path, args: argparse.Namespace) -> Report:
    """Captions through a sentence encoder."""
    count, batch = args.captions, 64
    table = folder / "captions.csv"
    jobs.write_table(table, "caption", models.captions(count))
    # As large as in a partition of a million rows: among few rows few are of like length.
    entry = models.minilm(folder / "minilm", batch) | {"rows_per_shard": 4096}
    modality = {"kind": "text", "column": "caption"}
    plan = prepared(folder / "results", table, modality, count, entry, args.threads)
    report = Report()
    seen = in_turns(
        {
            "bare model": lambda: count / bare("texts", folder / "minilm", count, batch, args),
            "sampan": lambda: count / extracted(plan, "text.it", args, report, "MiniLM"),
        },
        args.repeats,
    )
    report.found.append(
        Found(
            hop="extract, MiniLM, captions",
            measured="÷ the bare model on tokens sorted by length",
            values=ratios(seen["sampan"], seen["bare model"]),
            goal=0.92,
        )
    )
    report.figures |= rates("MiniLM", "captions/s", seen)
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
    seen = in_turns(
        {
            "decode and resample": lambda: count / sounds.decoded(folder / "clips", count),
            "sampan": lambda: count / extracted(plan, "audio.it", args, report, "log-mel"),
        },
        args.repeats,
    )
    report.found.append(
        Found(
            hop="10 s clips → log-mel",
            measured="÷ decoding and resampling alone",
            values=ratios(seen["sampan"], seen["decode and resample"]),
            goal=0.6,
        )
    )
    report.figures |= rates("log-mel", "clips/s", seen)
    return report


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


def extracted(
    plan: Plan, name: str, args: argparse.Namespace, report: Report, called: str
) -> float:
    """Seconds at work; what it made is removed."""
    done = jobs.run(jobs.stage_command(plan, "extract", "rows", name, threads=args.threads))
    shutil.rmtree(plan.results / plan.features["rows", name].folder)
    report.figures[f"{called}, sampan's job"] = done.busy
    return done.seconds_at_work


def bare(what: str, folder: Path, rows: int, batch: int, args: argparse.Namespace) -> float:
    words = [sys.executable, str(HERE / "models.py"), what, str(folder), str(rows), str(batch)]
    env = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds: float = json.loads(done.stdout.splitlines()[-1])["seconds"]
    return seconds


def rate(rows: int, work: Callable[..., float], *given: Any) -> float:
    return rows / work(*given)


def rates(what: str, unit: str, seen: dict[str, list[float]]) -> dict[str, float]:
    return {
        f"{what}, {name}, {unit}": round(statistics.median(found), 1)
        for name, found in seen.items()
    }


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
