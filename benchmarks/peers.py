"""
What others would do with the same pictures: each function a whole job, in a process of its own.

    python benchmarks/peers.py NAME FOLDER ROWS OUT

`floor` and `bare` have the files in memory and store nothing; they are the bounds. The others read
the files, or the tar files made of them, and write 8-bit rows. Printed: seconds at work (floor and
bare, where all is loaded before the clock starts) or of the whole (the others).
"""

import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import processes

SIDE = 224


def floor() -> Any:
    """libjpeg-turbo alone, all pixels, into memory that is used again."""
    import simplejpeg

    buffer = np.empty(2000 * 2000 * 3, np.uint8)
    return lambda data: simplejpeg.decode_jpeg(data, buffer=buffer)


def bare() -> Any:
    """The very decoding and resizing of `sampan preprocess`."""
    import torch

    from sampan.modalities.image import Image

    torch.set_num_threads(1)
    plugin = Image(height=SIDE, width=SIDE)
    out = np.zeros((SIDE, SIDE, 3), np.uint8)
    return lambda data: plugin.decode(data, out)


def by_pillow(data: bytes) -> np.ndarray:
    """Drafted at twice the size or more, bicubic, the middle: what careful users write."""
    import PIL.Image

    image = PIL.Image.open(io.BytesIO(data))
    image.draft("RGB", (2 * SIDE, 2 * SIDE))
    image = image.convert("RGB")
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    return np.asarray(image.resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC, box=box))


def by_simplejpeg(data: bytes) -> np.ndarray:
    """libjpeg-turbo through simplejpeg, the middle, torch's antialiased bicubic resizing."""
    import simplejpeg
    import torch

    pixels = simplejpeg.decode_jpeg(data, min_height=2 * SIDE, min_width=2 * SIDE)
    height, width = pixels.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    middle = torch.from_numpy(pixels[top : top + short, left : left + short])
    resized = torch.nn.functional.interpolate(
        middle.permute(2, 0, 1)[None], (SIDE, SIDE), mode="bicubic", antialias=True
    )
    return resized[0].permute(1, 2, 0).numpy()


def webdataset(decode: Any, tars: Path, rows: int, out: Path) -> float:
    """A DataLoader of two workers over tar files; batches go into one `.npy` file."""
    import torch
    import webdataset as wds

    began = time.perf_counter()
    torch.set_num_threads(1)
    urls = sorted(map(str, tars.glob("*.tar")))[: -(-rows // TAR_ROWS)]
    dataset = (
        wds.WebDataset(urls, shardshuffle=False, nodesplitter=wds.split_by_node)
        .to_tuple("jpg")
        .map_tuple(decode)
        .batched(64)
    )
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=processes.WORKERS)
    shape = (rows, SIDE, SIDE, 3)
    stored = np.lib.format.open_memmap(out, "w+", np.uint8, shape)
    at = 0
    for (batch,) in loader:
        stored[at : at + len(batch)] = batch
        at += len(batch)
    assert at == rows, (at, rows)
    return time.perf_counter() - began


TAR_ROWS = 500


def write_tars(files: list[Path], folder: Path, rows: int) -> None:
    """The same pictures as tar files of `TAR_ROWS`, for webdataset."""
    import tarfile

    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, rows, TAR_ROWS):
        with tarfile.open(folder / f"{first // TAR_ROWS:05d}.tar", "w") as tar:
            for row in range(first, min(rows, first + TAR_ROWS)):
                info = tarfile.TarInfo(f"{row:07d}.jpg")
                data = files[row % len(files)].read_bytes()
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


IMG2DATASET = """
import sys, time
from img2dataset import download
began = time.perf_counter()
download(url_list=sys.argv[1], input_format="txt", output_folder=sys.argv[2],
         output_format="webdataset", image_size=224, resize_mode="center_crop",
         processes_count=2, thread_count=8, number_sample_per_shard=500, enable_wandb=False,
         disable_all_reencoding=False)
print("seconds", time.perf_counter() - began)
"""
"""For the Python of an environment that has img2dataset."""


def main() -> None:
    name, folder, rows, out = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    if name in ("floor", "bare"):
        seconds = processes.decoded(
            {"floor": floor, "bare": bare}[name], sorted(folder.glob("*.jpg")), rows
        )
    else:
        seconds = webdataset(
            {"pillow": by_pillow, "simplejpeg": by_simplejpeg}[name], folder, rows, out
        )
    print("seconds", seconds)


if __name__ == "__main__":
    main()
