"""
Decoding straight into an encoder, against storing pixels first and against the bare encoder.

    python benchmarks/fused.py [--rows 2048] [--repeats 3] [--layers 2] [--folder FOLDER]

JPEG files of 500 × 375 through a vision transformer with random weights. Three ways, one after the
other and again, so that what else the machine does meets all alike: one `sampan extract` job with
`store: false`; `sampan preprocess` and then `sampan extract`; the same encoder in one process on
tensors that lie in memory. The time is that which the jobs' logs give for their shards, without the
start of workers and the loading of weights; of each way the median counts. Ratios are what to look
at, on a busy machine above all.
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
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from sampan.plan import Plan

FILES = 256
BARE = """
import json, sys, time
import numpy as np
from sampan import plugins
spec, rows = json.loads(sys.argv[1]), int(sys.argv[2])
encoder = plugins.make("encoders", spec["encoder"], "encoder")
settings = plugins.wanted(encoder, spec["modality"], "modality")
modality = plugins.make("modalities", settings, "modality")
encode = encoder.load(modality, "cpu")
data = np.random.default_rng(0).integers(0, 256, (rows, *modality.array().shape), np.uint8)
began = time.monotonic()
for start in range(0, rows, encoder.batch):
    encode(data[start : start + encoder.batch], None)
print(time.monotonic() - began)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", type=int, default=2, help="of the transformer, 192 wide")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "fused-benchmark"
    )
    args = parser.parse_args()
    shutil.rmtree(args.folder, ignore_errors=True)
    make_pictures(args.folder, args.rows)
    weights = make_weights(args.folder / "weights", args.layers)
    seconds: dict[str, list[float]] = {"bare encoder": [], "fused": [], "stored": []}
    said: dict[str, str] = {}
    for repeat in range(args.repeats):
        folder = args.folder / f"results-{repeat}"
        fused = Plan.parse(config(args.folder, folder, args.rows, weights, store=False))
        stored = Plan.parse(config(args.folder, folder, args.rows, weights, store=True))
        index(stored)
        seconds["bare encoder"].append(bare(fused, args.rows, args.threads))
        took, said["fused"] = job(fused, "extract", args.threads)
        seconds["fused"].append(took)
        first, said["stored, preprocess"] = job(stored, "preprocess", args.threads)
        second, said["stored, extract"] = job(stored, "extract", args.threads)
        seconds["stored"].append(first + second)
        shutil.rmtree(folder)
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    print("| way | times the bare encoder | spread |\n|---|---|---|")
    for way, median in medians.items():
        unit = medians["bare encoder"]
        least, most = min(seconds[way]) / unit, max(seconds[way]) / unit
        print(f"| {way} | {median / unit:.2f} | {least:.2f}–{most:.2f} |")
    for name, line in said.items():
        print(f"{name}: {line}")
    shutil.rmtree(args.folder)


def make_pictures(folder: Path, rows: int) -> None:
    """`FILES` pictures of noise and rectangles, under as many names as there are rows."""
    (folder / "files").mkdir(parents=True)
    (folder / "links").mkdir()
    for i in range(FILES):
        random = np.random.default_rng(i)
        pixels = random.integers(0, 64, (375, 500, 3), np.uint8)
        for _ in range(8):
            top, left = random.integers(0, 300), random.integers(0, 400)
            pixels[top : top + 75, left : left + 100] += random.integers(0, 180, 3, np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"files/{i}.jpg", quality=85)
    for i in range(rows):
        os.link(folder / f"files/{i % FILES}.jpg", folder / f"links/{i}.jpg")
    lines = [f"p{i:07d},links/{i}.jpg" for i in range(rows)]
    (folder / "pictures.csv").write_text("\n".join(["id,file", *lines, ""]))


def make_weights(folder: Path, layers: int) -> dict[str, Any]:
    """A vision transformer of random numbers, and its entry in the config."""
    from transformers import Dinov2Config, Dinov2Model
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

    from sampan.encoders.weights import weights_digest

    shape = Dinov2Config(
        hidden_size=192, num_hidden_layers=layers, num_attention_heads=3, patch_size=16
    )
    Dinov2Model(shape).save_pretrained(folder)
    size = {"height": 224, "width": 224}
    BitImageProcessorPil(size={"shortest_edge": 224}, crop_size=size).save_pretrained(folder)
    digest = weights_digest(folder)
    return {"kind": "transformers", "path": str(folder), "digest": digest, "output": "cls"}


def config(
    folder: Path, results: Path, rows: int, weights: dict[str, Any], *, store: bool
) -> dict[str, Any]:
    """One partition; eight shards, whether stored or not."""
    capacity = 1 << (rows - 1).bit_length()
    size = {"rows_per_shard": capacity // 8}
    image: dict[str, Any] = {"kind": "image", "column": "file", "max_pixels": 2**22}
    image |= {"max_bytes": 2**24, "height": 224, "width": 224}
    dataset = {
        "source": [{"kind": "table", "path": str(folder / "pictures.csv"), "key": "id"}],
        "capacity": capacity,
        "rows_per_job": capacity,
        "modalities": {"image": image | (size if store else {"store": False})},
        "features": {"image": ["vit"]},
    }
    return {
        "results": str(results),
        "datasets": {"pictures": dataset},
        "encoders": {"vit": weights | size},
    }


def sampan(plan: Plan, verb: str, spec: dict[str, Any], *more: str) -> str:
    """Run one command as its rule would; what it logged."""
    words = [sys.executable, "-m", "sampan.cli", verb, "--spec", json.dumps(spec)]
    done = subprocess.run(
        [*words, "--results", str(plan.results), *more], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stderr


def index(plan: Plan) -> None:
    sampan(plan, "scan", plan.scan_spec("pictures"))
    sampan(plan, "index", plan.index_spec("pictures"), "--part", "0")


def job(plan: Plan, verb: str, threads: int) -> tuple[float, str]:
    """Seconds at work of the one job of a stage, and how busy it says it was."""
    name = "image" if verb == "preprocess" else "image.vit"
    stages = plan.preprocessed if verb == "preprocess" else plan.features
    spec = getattr(plan, f"{verb}_spec")("pictures", name)
    folder = plan.results / stages["pictures", name].folder
    receipt = folder / "receipts/part-00000.json"
    grant = ["--threads", str(threads), "--memory-mb", "20000"]
    log = sampan(plan, verb, spec, "--part", "0", "--receipt", str(receipt), *grant)
    busy = re.findall(r"the (?:encoder|writer) waited.*", log)[-1]
    took = re.findall(r"of ([\d.]+) s on", busy)[-1]
    return float(took), busy


def bare(plan: Plan, rows: int, threads: int) -> float:
    """Seconds of the encoder alone, on all rows."""
    spec = plan.extract_spec("pictures", "image.vit")
    done = subprocess.run(
        [sys.executable, "-c", BARE, json.dumps(spec), str(rows)],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
