"""
Photographs for the benchmarks, the same ones every time.

Cut from the sample photographs that scikit-image and scikit-learn bring, flipped, with grain, as
JPEG of quality 85 to 90, four of five with 4:2:0 chroma: about 65 kB for 500 × 375 pixels, like the
photographs that people put on the web.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

HEIGHT, WIDTH = 375, 500
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
GRAIN = 7.0
"""Standard deviation, in grey levels."""


@cache
def _photographs() -> list[NDArray[np.uint8]]:
    import skimage.data
    from sklearn.datasets import load_sample_images

    found = [getattr(skimage.data, name)() for name in PHOTOGRAPHS]
    return [*found, *load_sample_images().images]


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """(y, x, channel): one of endlessly many."""
    random = np.random.default_rng(number)
    whole = _photographs()[number % len(_photographs())]
    share = random.uniform(0.6, 1.0) * min(whole.shape[0] / height, whole.shape[1] / width)
    tall, wide = int(height * share), int(width * share)
    top = random.integers(0, whole.shape[0] - tall + 1)
    left = random.integers(0, whole.shape[1] - wide + 1)
    part = PIL.Image.fromarray(whole[top : top + tall, left : left + wide])
    pixels = np.asarray(part.resize((width, height), PIL.Image.Resampling.LANCZOS))
    if random.integers(2):
        pixels = pixels[:, ::-1]
    grainy = pixels + random.normal(0, GRAIN, pixels.shape)
    return np.clip(grainy, 0, 255).astype(np.uint8)


def write_pictures(folder: Path, count: int) -> list[Path]:
    """`count` files; those that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            made = PIL.Image.fromarray(picture(number))
            made.save(path, quality=85 + number % 6, subsampling=0 if number % 5 == 0 else 2)
    return paths


def link(pictures: list[Path], folder: Path, rows: int) -> list[str]:
    """Hard links under as many names as there are `rows`; the names within `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{row:07d}.jpg" for row in range(rows)]
    for row, name in enumerate(names):
        if not (folder / name).exists():
            os.link(pictures[row % len(pictures)], folder / name)
    return names
