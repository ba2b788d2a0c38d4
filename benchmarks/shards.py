"""
Writing shards, reading them in order, and training batches of random rows.

    python benchmarks/shards.py [--rows 4096] [--repeats 5]

Rows of 224 × 224 × 3 bytes, uncompressed, in the chunks and shards that sampan chooses for them;
the same for zarr-python and zarrs. Nobody calls fsync. Everything stays in the page cache.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import goals
import numpy as np
import peers
import PIL.Image
from goals import Found, Report, in_turns, ratios
from pictures import picture

from sampan.plugins import ArraySpec
from sampan.store import layout as layouts
from sampan.store import shard as shards
from sampan.store.read import Reader
from sampan.store.shard import ShardWriter

SHAPE = (224, 224, 3)
ROWS_PER_SHARD = 1024
BATCH = 256
EPOCHS = 5
"""Of random batches at a time: what a run does once, at its start, should not count."""
NAME = "image"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))


def measure(args: argparse.Namespace) -> Report:
    folder = args.folder / "shards-benchmark"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    data = rows_of(args.rows)
    layout = layouts.choose(
        "0" * 32,
        {NAME: ArraySpec(("y", "x", "channel"), SHAPE, "uint8")},
        args.rows,
        rows_per_shard=ROWS_PER_SHARD,
    ).arrays[NAME]
    mb = data.nbytes / 1e6
    # zarr-python and zarrs never call it, and it would measure the disk; this process ends soon
    shards.os.fsync = lambda handle: None  # type: ignore[attr-defined] # imported there as a whole

    def written(write: Callable[[Path], None]) -> Callable[[], float]:
        def once() -> float:
            out = folder / "written"
            shutil.rmtree(out, ignore_errors=True)
            began = time.perf_counter()
            write(out)
            return mb / (time.perf_counter() - began)

        return once

    writing = in_turns(
        {
            "sampan": written(lambda out: write_with_sampan(data, layout, out)),
            "zarr-python": written(lambda out: write_with_zarr(data, layout, out)),
            "zarrs": written(lambda out: write_with_zarrs(data, layout, out)),
            "plain files": written(lambda out: write_plainly(data, out)),
        },
        args.repeats,
    )
    shutil.rmtree(folder / "written")
    stored = folder / "stored"
    write_with_sampan(data, layout, stored)
    np.save(folder / "rows.npy", data)
    tars = folder / "tars"
    write_small_tars(data, tars)
    mapped = np.load(folder / "rows.npy", mmap_mode="r")
    reader = Reader(stored, layout)
    reading = in_turns(
        {
            "sampan": lambda: mb / read_in_order(reader.rows, args.rows),
            "memmap": lambda: mb / read_in_order(lambda a, b: mapped[a:b], args.rows),
        },
        args.repeats,
    )
    orders = [np.random.default_rng(epoch).permutation(args.rows) for epoch in range(EPOCHS)]
    order = np.concatenate(orders)
    batches = in_turns(
        {
            "sampan": lambda: len(order) / fed_batches(reader, order),
            "memmap": lambda: len(order) / random_batches(mapped, order),
            "webdataset": lambda: args.rows / webdataset_batches(tars, args.rows),
        },
        args.repeats,
    )
    shutil.rmtree(folder)
    write, read, feed = "shard writing", "reading shards in order", "random training batches of 256"
    found = [
        Found(hop=write, measured="÷ zarr-python", goal=6,
              values=ratios(writing["sampan"], writing["zarr-python"])),
        Found(hop=write, measured="÷ zarrs", goal=2,
              values=ratios(writing["sampan"], writing["zarrs"])),
        Found(hop=read, measured="÷ numpy.memmap", goal=0.8,
              values=ratios(reading["sampan"], reading["memmap"])),
        Found(hop=feed, measured="÷ numpy.memmap, fancy indexing", goal=0.9,
              values=ratios(batches["sampan"], batches["memmap"])),
        Found(hop=feed, measured="÷ webdataset with decode, 2 workers", goal=4,
              values=ratios(batches["sampan"], batches["webdataset"])),
    ]  # fmt: skip
    figures = {
        f"{what}, {name}, {unit}": round(statistics.median(rates))
        for what, unit, seen in (
            (write, "MB/s", writing), (read, "MB/s", reading), (feed, "samples/s", batches)
        )
        for name, rates in seen.items()
    }  # fmt: skip
    return Report(found, figures | {"rows": args.rows, "rows in a shard": layout.rows_per_shard,
                                    "rows in a chunk": layout.rows_per_chunk})  # fmt: skip


def rows_of(count: int) -> np.ndarray:
    some = np.stack([picture(number, *SHAPE[:2]) for number in range(128)])
    return np.concatenate([some] * (-(-count // len(some))))[:count]


def write_with_sampan(data: np.ndarray, layout: Any, out: Path) -> None:
    out.mkdir(exist_ok=True)
    size = layout.rows_per_shard
    for number in range(-(-len(data) // size)):
        with ShardWriter(out / layout.shard_file(number), layout) as writer:
            writer.write(data[number * size : (number + 1) * size])
            writer.close()


def write_plainly(data: np.ndarray, out: Path) -> None:
    """The bound: the same bytes by write(2), with neither index nor checksum."""
    out.mkdir()
    for first in range(0, len(data), ROWS_PER_SHARD):
        with (out / str(first)).open("wb", buffering=0) as file:
            for row in range(first, min(len(data), first + ROWS_PER_SHARD), 8):
                file.write(data[row : row + 8])


def write_with_zarr(data: np.ndarray, layout: Any, out: Path) -> None:
    import zarr

    array = zarr.create_array(
        str(out),
        shape=data.shape,
        dtype=data.dtype,
        chunks=(layout.rows_per_chunk, *SHAPE),
        shards=(layout.rows_per_shard, *SHAPE),
        compressors=None,
        filters=None,
    )
    size = layout.rows_per_shard
    for first in range(0, len(data), size):
        array[first : first + size] = data[first : first + size]


def write_with_zarrs(data: np.ndarray, layout: Any, out: Path) -> None:
    import zarr
    import zarrs

    assert zarrs
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        write_with_zarr(data, layout, out)


def read_in_order(rows: Callable[[int, int], np.ndarray], count: int) -> float:
    out = np.empty((BATCH, *SHAPE), np.uint8)
    began = time.perf_counter()
    for first in range(0, count, BATCH):
        np.copyto(out[: min(BATCH, count - first)], rows(first, min(first + BATCH, count)))
    return time.perf_counter() - began


def fed_batches(reader: Reader, order: np.ndarray) -> float:
    """As training takes them."""
    from sampan.training.feed import BatchFeed

    batches = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
    seen = 0
    began = time.perf_counter()
    with BatchFeed({NAME: reader}, batches) as feed:
        for _, inputs in feed:
            seen += len(inputs[NAME])
    assert seen == len(order)
    return time.perf_counter() - began


def random_batches(rows: np.ndarray, order: np.ndarray) -> float:
    import torch

    began = time.perf_counter()
    for first in range(0, len(order), BATCH):
        torch.from_numpy(rows[order[first : first + BATCH]])
    return time.perf_counter() - began


def write_small_tars(data: np.ndarray, folder: Path) -> None:
    """The same rows as JPEG of quality 90 in tar files: what is trained on with webdataset."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    paths = []
    for number, pixels in enumerate(data[:128]):
        paths.append(pictures / f"{number}.jpg")
        PIL.Image.fromarray(pixels).save(paths[-1], quality=90)
    peers.write_tars(paths, folder, len(data))


def webdataset_batches(tars: Path, rows: int) -> float:
    """Shuffled within 2,048 rows, decoded by webdataset itself in two workers."""
    import torch
    import webdataset as wds

    urls = sorted(map(str, tars.glob("*.tar")))
    dataset = (
        wds.WebDataset(urls, shardshuffle=len(urls), seed=0)
        .shuffle(2048)
        .decode("rgb8")
        .to_tuple("jpg")
        .batched(BATCH)
    )
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2)
    iterator, seen = iter(loader), 0
    began = time.perf_counter()
    for (batch,) in iterator:
        seen += len(torch.as_tensor(batch))
    seconds = time.perf_counter() - began
    assert seen == rows, (seen, rows)
    del iterator, loader  # its workers have ended before anything else is measured
    return seconds


if __name__ == "__main__":
    goals.main(__doc__, arguments, measure)
