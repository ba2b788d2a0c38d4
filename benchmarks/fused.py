"""
Decoding straight into an encoder, against storing pixels first and against the bare encoder.

    python benchmarks/fused.py [--rows 2048] [--repeats 3] [--shape tiny]

JPEG files of 500 × 375 through a vision transformer with random weights. Three ways in turns: one
`sampan extract` job with `store: false`; `sampan preprocess` and then `sampan extract`; the same
model in one process on tensors that lie in memory. The time is that which the jobs' logs give for
their shards, without the start of workers and the loading of weights.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import goals
import jobs
import models
from extract import bare
from goals import Found, Report, in_turns, ratios
from pictures import link, write_pictures

from sampan.plan import Plan

FILES = 256
BATCH = 32


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shape", choices=models.VIT, default="tiny")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))


def measure(args: argparse.Namespace) -> Report:
    folder = args.folder / "fused-benchmark"
    shutil.rmtree(folder, ignore_errors=True)
    names = link(write_pictures(folder / "pictures", FILES), folder / "links", args.rows)
    jobs.write_table(folder / "rows.csv", "file", [f"links/{name}" for name in names])
    entry = models.vision_transformer(folder / "weights", args.shape, BATCH)
    busy: dict[str, Any] = {}
    seen = in_turns(
        {
            "bare": lambda: bare("pictures", folder / "weights", args.rows, BATCH, args),
            "fused": lambda: whole(folder, entry, args, busy, store=False),
            "stored": lambda: whole(folder, entry, args, busy, store=True),
        },
        args.repeats,
    )
    shutil.rmtree(folder)
    return Report(
        [
            Found(
                hop=f"JPEG → ViT {args.shape}, {name}",
                measured="seconds ÷ those of the bare model",
                values=ratios(seen[name], seen["bare"]),
                goal=goal,
                at_most=True,
            )
            for name, goal in (("fused", 1.3), ("stored", 1.5))
        ],
        busy,
    )


def whole(
    folder: Path,
    entry: dict[str, Any],
    args: argparse.Namespace,
    busy: dict[str, Any],
    *,
    store: bool,
) -> float:
    """Seconds at work of all jobs from the files to the embeddings."""
    size = {"rows_per_shard": max(64, args.rows // 8)}
    modality: dict[str, Any] = {"kind": "image", "column": "file", "height": 224, "width": 224}
    modality |= {"max_pixels": 2**22, "max_bytes": 2**24, "fit": "stretch"}
    modality |= size if store else {"store": False}
    config = jobs.one_partition(
        folder / "results", folder / "rows.csv", modality, args.rows, features={"image": ["vit"]}
    )
    plan = Plan.parse(config | {"encoders": {"vit": entry | size}})
    jobs.index(plan, "rows")
    seconds = 0.0
    steps = [("preprocess", "image")] if store else []
    for verb, name in [*steps, ("extract", "image.vit")]:
        done = jobs.run(jobs.stage_command(plan, verb, "rows", name, threads=args.threads))
        busy[f"{'stored' if store else 'fused'}, {verb}"] = done.busy
        seconds += done.seconds_at_work
    shutil.rmtree(plan.results)
    return seconds


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
