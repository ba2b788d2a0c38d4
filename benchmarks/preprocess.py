"""
JPEG files to rows of 224 × 224 pixels in Zarr, beside the bounds and beside what others do.

    python benchmarks/preprocess.py [--rows 20480] [--repeats 3] [--img2dataset PYTHON]

Photographs of 500 × 375, see pictures.py. All in turns on the same two workers. A rate is the slope
between a small job and a large one, so that it holds no start-up, of sampan or of a peer; what is
left at no rows is the start-up, printed apart. Files and results lie in `--folder`, in memory
unless told otherwise: decoding is measured, not the disk.

Then whole jobs, each from the start of its process to its end, of `--whole` pictures: a user waits
for those.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import goals
import jobs
import numpy as np
import peers
import PIL.Image
from goals import Found, Report, in_turns, ratios
from pictures import link, write_pictures

from sampan.plan import Plan

FILES = 500
ROWS = 20_480
"""Forty shards, so that two workers end together, as the others' do with their tar files."""
ROW_BYTES = peers.SIDE * peers.SIDE * 3
HERE = Path(__file__).parent
HOP = "JPEG 500×375 → 224 px in Zarr"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=ROWS, help="pictures in sampan's large job")
    parser.add_argument("--peer-rows", type=int, default=6_000, help="in the others' large jobs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--whole", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--img2dataset", type=Path, help="Python of an environment that has img2dataset"
    )
    parser.add_argument("--folder", type=Path, default=jobs.IN_MEMORY)


def measure(args: argparse.Namespace) -> Report:
    folder = args.folder / "preprocess-benchmark"
    shutil.rmtree(folder, ignore_errors=True)
    files = write_pictures(folder / "pictures", FILES)
    starts: dict[str, list[float]] = {}
    small = max(args.rows // 10, FILES)
    small_peer = max(args.peer_rows // 6, 2 * peers.TAR_ROWS)
    busy: list[str] = []
    peers.write_tars(files, folder / "tars", max(args.peer_rows, *args.whole))

    def slope(name: str, work: Callable[[int], float], few: int, many: int) -> float:
        """Rows a second; what is left at none is kept as the start."""
        short, long = work(few), work(many)
        rate = (many - few) / (long - short)
        starts.setdefault(name, []).append(short - few / rate)
        return rate

    ours = partial(preprocess, folder, files, args.threads, busy)
    web = partial(peer, folder / "tars", folder)
    ways: dict[str, Callable[[], float]] = {
        "floor": lambda: args.peer_rows / peer(files[0].parent, folder, "floor", args.peer_rows),
        "bare": lambda: args.peer_rows / peer(files[0].parent, folder, "bare", args.peer_rows),
        "sampan": lambda: slope("sampan", ours, small, args.rows),
        "pillow": lambda: slope("pillow", partial(web, "pillow"), small_peer, args.peer_rows),
        "simplejpeg": lambda: slope(
            "simplejpeg", partial(web, "simplejpeg"), small_peer, args.peer_rows
        ),
    }
    if args.img2dataset:
        other = partial(img2dataset, folder, files, args.img2dataset)
        ways["img2dataset"] = lambda: slope("img2dataset", other, small_peer, args.peer_rows)
    seen = in_turns(ways, args.repeats)
    whole = {
        rows: in_turns(
            {
                f"sampan, {rows:,} pictures in s": partial(ours, rows),
                f"simplejpeg, {rows:,} pictures in s": partial(whole_peer, folder, rows),
            },
            args.repeats,
        )
        for rows in args.whole
    }
    worth = quality(files[:60])
    shutil.rmtree(folder)

    def against(name: str, measured: str, goal: float, note: str = "") -> Found:
        values = ratios(seen["sampan"], seen[name]) if name in seen else ()
        note = note if values else "no environment with img2dataset; see --img2dataset"
        return Found(hop=HOP, measured=measured, values=values, goal=goal, note=note)

    found = [
        against("bare", "÷ the same decode and resize, stored nowhere", 0.9),
        against("floor", "÷ decoding alone (libjpeg-turbo)", 0.65),
        against("pillow", "÷ webdataset + DataLoader, Pillow", 2.0),
        against("simplejpeg", "÷ webdataset + DataLoader, simplejpeg", 1.4),
        against("img2dataset", "÷ img2dataset, local files", 3.0),
        Found(
            hop=HOP,
            measured="PSNR to Pillow's full decode, bicubic",
            values=tuple(worth),
            goal=45,
            unit="dB",
        ),
    ]
    for rows, seconds in whole.items():
        own, other = seconds.values()
        found.append(
            Found(
                hop=f"a whole job of {rows:,} of them",
                measured="webdataset + DataLoader, simplejpeg ÷ it",
                values=ratios(other, own),
                goal=1.3,
            )
        )
    rates = {f"{name}, images/s": round(statistics.median(rate)) for name, rate in seen.items()}
    starting = {
        f"{name}, start-up in s": round(statistics.median(times), 2)
        for name, times in starts.items()
    }
    taken = {
        name: round(statistics.median(seconds), 2)
        for ways in whole.values()
        for name, seconds in ways.items()
    }
    return Report(
        found, {**rates, **starting, **taken, "sampan's job": busy[-1], "rows": args.rows}
    )


def preprocess(folder: Path, files: list[Path], threads: int, busy: list[str], rows: int) -> float:
    """Seconds of the whole job."""
    names = link(files, folder / "links", rows)
    table = folder / f"rows-{rows}.csv"
    jobs.write_table(table, "file", [f"links/{name}" for name in names])
    results = folder / "results"
    shutil.rmtree(results, ignore_errors=True)
    modality = {"kind": "image", "column": "file", "height": peers.SIDE, "width": peers.SIDE}
    modality |= {"max_pixels": 2**22, "max_bytes": 2**24}
    plan = Plan.parse(jobs.one_partition(results, table, modality, rows))
    jobs.index(plan, "rows")
    jobs.touch(rows * ROW_BYTES)
    done = jobs.run(jobs.stage_command(plan, "preprocess", "rows", "image", threads=threads))
    busy.append(done.busy)
    shutil.rmtree(results)
    return done.seconds


def peer(source: Path, folder: Path, name: str, rows: int) -> float:
    out = folder / "peer.npy"
    words = [sys.executable, str(HERE / "peers.py"), name, str(source), str(rows), str(out)]
    jobs.touch(rows * ROW_BYTES)
    seconds = run(words)
    out.unlink(missing_ok=True)
    return seconds


def whole_peer(folder: Path, rows: int) -> float:
    """Seconds of webdataset's process, from its start to its end."""
    began = time.monotonic()
    peer(folder / "tars", folder, "simplejpeg", rows)
    return time.monotonic() - began


def img2dataset(folder: Path, files: list[Path], python: Path, rows: int) -> float:
    names = link(files, folder / "links", rows)
    urls, out = folder / "urls.txt", folder / "img2dataset"
    urls.write_text("".join(f"file://{folder}/links/{name}\n" for name in names))
    shutil.rmtree(out, ignore_errors=True)
    jobs.touch(rows * ROW_BYTES)
    seconds = run([str(python), "-W", "ignore", "-c", peers.IMG2DATASET, str(urls), str(out)])
    made = sum(1 for tar in out.glob("*.tar"))
    assert made == -(-rows // 500), f"img2dataset made {made} tar files of {rows} rows"
    shutil.rmtree(out)
    return seconds


def run(words: list[str]) -> float:
    env = os.environ | {"OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout.split("seconds ")[-1])


def quality(files: list[Path]) -> list[float]:
    """PSNR in dB of each picture to a full decode and Pillow's bicubic resizing of the whole."""
    from sampan.modalities.image import Image

    plugin = Image(height=peers.SIDE, width=peers.SIDE)
    out = np.zeros((peers.SIDE, peers.SIDE, 3), np.uint8)
    found = []
    for path in files:
        plugin.decode(path.read_bytes(), out)
        image = PIL.Image.open(path).convert("RGB")
        short = min(image.size)
        width, height = (peers.SIDE * length // short for length in image.size)
        left, top = (width - peers.SIDE) // 2, (height - peers.SIDE) // 2
        whole = image.resize((width, height), PIL.Image.Resampling.BICUBIC)
        wanted = np.asarray(whole.crop((left, top, left + peers.SIDE, top + peers.SIDE)))
        error = np.square(out.astype(float) - wanted).mean()
        found.append(float(10 * np.log10(255**2 / error)))
    return found


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
