"""
From raw JPEG to stored embeddings on one GPU, against the encoder alone and the GPU's peak.

    python benchmarks/gpu.py [--rows 65536] [--shape vit-l-14 vit-b-32] [--repeats 3] [--out FILE]

JPEG files of 500 × 375 go through the vision tower of a CLIP with random weights, in bfloat16, with
and without `compile`: one `sampan extract` job with `store: false` on one GPU. Beside it runs the
same tower alone, again and again on one batch that lies in the GPU's memory. Both are repeated in
turn, and of each the median counts. The job's time is what its log gives for the shards: without
the start of its worker, the loading of weights, the search for a batch that fits, and compilation.
What the GPU was busy is what its own events measured.

Where there is no GPU it prints "no GPU" and ends well.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import goals
import jobs
from goals import Found, Report
from pictures import link, write_pictures

from sampan.plan import Jobs, Plan

YARDSTICK = 926
"""Images/s, from raw files to embeddings, for each PFLOP/s of a GPU's dense bf16 peak."""
GOALS = {("vit-l-14", "H200"): 2116}
"""Images/s of one GPU."""
PEAKS = {
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "GH200": 989,
    "H200": 989,
    "GB200": 2500,
    "B200": 2250,
    "H20": 148,
    "A100": 312,
    "A40": 150,
    "L40S": 362,
    "L4": 121,
    "MI300X": 1307,
    "MI325X": 1307,
    "MI300A": 981,
    "MI250X": 192,
}
"""
Dense bf16 TFLOP/s by a word of the name, of the makers' data sheets; the first that fits. An MI250X
is two devices, of which this is one.
"""
JOB_MB = 40_000
FILES = 500
HOP = "JPEG → embeddings on one GPU,"
MEASURED = "÷ 926 images/s for each PFLOP/s"


class Shape(NamedTuple):
    """A vision transformer of CLIP (Radford et al. 2021), on pictures of 224 × 224 px."""

    width: int
    layers: int
    heads: int
    patch: int
    projection: int

    def flops(self, side: int = 224) -> int:
        """
        Floating-point operations for one picture; a multiplication with its addition counts as two.

        Of matrix products, which all but 1 % of the time should go to: patches, queries, keys,
        values and output, attention over all pairs of tokens, and two layers of four times the
        width.
        """
        patches = (side // self.patch) ** 2
        tokens = patches + 1
        layer = tokens * 12 * self.width**2 + 2 * tokens**2 * self.width
        embedding = patches * 3 * self.patch**2 * self.width
        return 2 * (embedding + self.layers * layer + self.width * self.projection)


SHAPES = {
    "vit-l-14": Shape(width=1024, layers=24, heads=16, patch=14, projection=768),
    "vit-b-32": Shape(width=768, layers=12, heads=12, patch=32, projection=512),
}

BARE = """
import json, sys, time
import numpy as np, torch
from sampan import plugins
from sampan.execution.batch_size import find_batch_rows
spec, device, seconds = json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[3])
encoder = plugins.make("encoders", spec["encoder"], "encoder")
settings = plugins.decide_decoding(encoder, spec["modality"], "modality")
modality = plugins.make("modalities", settings, "modality")
encode = encoder.load(modality, device)
rows = find_batch_rows(encoder, encode, modality, device, "bare")
data = np.random.default_rng(0).integers(0, 256, (rows, *modality.array().shape), np.uint8)
wait = torch.cuda.synchronize if device == "cuda" else lambda: None
with torch.inference_mode(), encode._precision():
    ((inputs, mask),) = encode.inputs(data, None)
    for _ in range(3):
        encode._read(inputs, mask)
    wait()
    done, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        for _ in range(4):
            encode._read(inputs, mask)
        wait()
        done += 4 * rows
    took = time.monotonic() - began
print(json.dumps({"batch": rows, "rate": done / took}))
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=65536)
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))


def measure(args: argparse.Namespace) -> Report:
    """One goal for each shape, and each way; "no GPU" where there is none."""
    device = gpu()
    if device is None:
        print("no GPU", file=sys.stderr)
        return Report(
            [Found(hop=HOP.rstrip(","), measured=MEASURED, values=(), goal=1, note="no GPU")]
        )
    found = records(
        args.folder / "gpu-benchmark",
        rows=args.rows,
        shapes={name: SHAPES[name] for name in args.shape},
        repeats=args.repeats,
        threads=args.threads,
    )
    return Report(
        [goal(each) for each in found],
        {f"{each['shape']}, {_way(each)}": in_words(each) for each in found},
    )


def gpu() -> str | None:
    """Name of the GPU that a job would be given; None where torch can use none."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def peak_of(name: str) -> float | None:
    """Dense bf16 FLOP/s of a GPU by its name; None where it is not in the table."""
    return next((peak * 1e12 for part, peak in PEAKS.items() if _is(name, part)), None)


def _is(name: str, part: str) -> bool:
    return re.search(rf"\b{part}\b", name) is not None


def records(
    folder: Path,
    *,
    rows: int,
    shapes: dict[str, Shape],
    repeats: int = 3,
    threads: int = 2,
    device: str = "cuda",
    ways: Iterable[bool] = (False, True),
    seconds: float = 5.0,
) -> list[dict[str, Any]]:
    """
    One record for each shape, and each of `ways`, which say whether to compile.

    `folder` is made, and removed at the end. The tower alone runs for `seconds` each time. A
    `device` of `cpu` is for tests: shares of a peak are then None.
    """
    shutil.rmtree(folder, ignore_errors=True)
    names = link(write_pictures(folder / "pictures", FILES), folder / "links", rows)
    jobs.write_table(folder / "rows.csv", "file", [f"links/{name}" for name in names])
    modality = {"kind": "image", "column": "file", "store": False}
    modality |= {"max_pixels": 2**22, "max_bytes": 2**24}
    plans: dict[tuple[str, bool], Plan] = {}
    for name, shape in shapes.items():
        weights = make_weights(folder / "weights" / name, shape)
        for compiled in ways:
            encoder = weights | {"dtype": "bfloat16", "compile": compiled, "device": device}
            results = folder / f"results-{name}-{'compiled' if compiled else 'eager'}"
            config = jobs.one_partition(
                results, folder / "rows.csv", modality, rows, features={"image": ["vit"]}
            )
            # few and large, as at a centre: at a shard's end the GPU waits for the first batch
            encoder["rows_per_shard"] = config["datasets"]["rows"]["capacity"] // 2
            plans[name, compiled] = Plan.parse(config | {"encoders": {"vit": encoder}})
    taken: dict[tuple[str, bool], list[dict[str, float]]] = {key: [] for key in plans}
    for _ in range(repeats):
        for key, plan in plans.items():
            shutil.rmtree(plan.results, ignore_errors=True)
            jobs.index(plan, "rows")
            alone = bare(plan, threads, device, seconds)
            taken[key].append(alone | extracted(plan, rows, threads, device))
    shutil.rmtree(folder)
    return [record(name, shapes[name], compiled, some) for (name, compiled), some in taken.items()]


def make_weights(folder: Path, shape: Shape) -> dict[str, Any]:
    """A CLIP of random numbers with that vision tower, and its entry in the config."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    from sampan.weights.digests import weights_digest

    vision = {
        "hidden_size": shape.width,
        "intermediate_size": 4 * shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "patch_size": shape.patch,
        "image_size": 224,
    }
    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 99}
    text |= {"num_attention_heads": 1, "bos_token_id": 0, "eos_token_id": 1}
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=shape.projection)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    return {
        "kind": "transformers",
        "path": str(folder),
        "digest": weights_digest(folder),
        "output": "projection",
        "memory_mb": 8000,
    }


def bare(plan: Plan, threads: int, device: str, seconds: float) -> dict[str, float]:
    """Rows of a batch, and images/s of the tower alone."""
    spec = Jobs(plan).extract("rows", "image.vit").to_json()
    done = subprocess.run(
        [sys.executable, "-c", BARE, json.dumps(spec), device, str(seconds)],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def extracted(plan: Plan, rows: int, threads: int, device: str) -> dict[str, float]:
    """Images/s of one job, and the shares of its time that its events give."""
    words = jobs.stage_command(
        plan, "extract", "rows", "image.vit", threads=threads, memory_mb=JOB_MB
    )
    worked = jobs.run([*words, *(["--gpus", "1"] if device == "cuda" else [])]).worked
    assert worked is not None
    shares = {"waited": worked.busy["wait"], "busy": worked.busy["encode"]}
    return {"end to end": rows / worked.busy_seconds, **shares}


def record(
    name: str, shape: Shape, compiled: bool, taken: list[dict[str, float]]
) -> dict[str, Any]:
    """Medians of the repeats, the least and the most, and what they are compared with."""
    device = gpu()
    peak = None if device is None else peak_of(device)
    median = {key: statistics.median(each[key] for each in taken) for key in taken[0]}
    rates = [each["end to end"] for each in taken]
    yardstick = None if peak is None else YARDSTICK * peak / 1e15
    least = next(
        (most for (of, part), most in GOALS.items() if of == name and _is(device or "", part)), None
    )
    return {
        "shape": name,
        "compile": compiled,
        "gpu": device,
        "batch": int(median["batch"]),
        "images_per_second": median["end to end"],
        "rates": rates,
        "bare_images_per_second": median["rate"],
        "share_of_bare": median["end to end"] / median["rate"],
        "share_of_peak": None if peak is None else median["end to end"] * shape.flops() / peak,
        "bare_share_of_peak": None if peak is None else median["rate"] * shape.flops() / peak,
        "busy": median["busy"],
        "waited": median["waited"],
        "yardstick_images_per_second": yardstick,
        "goal_images_per_second": least,
    }


def goal(each: dict[str, Any]) -> Found:
    """Rates of the repeats as shares of what they are to reach."""
    wanted = max(each["yardstick_images_per_second"] or 0, each["goal_images_per_second"] or 0)
    return Found(
        hop=f"{HOP} {each['shape']}, bf16, {_way(each)}",
        measured=f"{MEASURED}: {wanted:,.0f} images/s" if wanted else MEASURED,
        values=tuple(rate / wanted for rate in each["rates"]) if wanted else (),
        goal=1,
        note="" if wanted else f"the peak of {each['gpu']} is not known",
    )


def in_words(each: dict[str, Any]) -> str:
    return (
        f"{each['images_per_second']:,.0f} images/s in batches of {each['batch']:,}, "
        f"{each['share_of_bare']:.2f} of the tower alone, {_share(each['share_of_peak'])} of the "
        f"peak ({_share(each['bare_share_of_peak'])} alone); the GPU was busy "
        f"{_share(each['busy'])}, waited {_share(each['waited'])}"
    )


def _way(each: dict[str, Any]) -> str:
    return "compiled" if each["compile"] else "eager"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
