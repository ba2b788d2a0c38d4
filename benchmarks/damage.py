"""
How many damaged JPEGs are refused, and what it costs to look.

Photographs with random bits flipped, the same every time. What libjpeg warns about at full size is
what a decoder can know; the cost is that of decoding with warnings against without.

    python benchmarks/damage.py
"""

import random
import time
from collections import Counter
from io import BytesIO

import numpy as np
import PIL.Image
import simplejpeg
from pictures import picture

from sampan.errors import InvalidSample
from sampan.modalities.image import Image

FILES = 64
BITS = (8, 64)
SEEDS = 3
ROUNDS = 20


def main() -> None:
    photographs = [_file(number) for number in range(FILES)]
    print("bits flipped | files | libjpeg warns | of these refused | refused besides")
    for bits in BITS:
        counts: Counter[tuple[bool, bool]] = Counter()
        for seed in range(SEEDS):
            for number, whole in enumerate(photographs):
                damaged = _flipped(whole, bits, FILES * seed + number)
                counts[_warned(damaged), _refused(damaged)] += 1
        warned = counts[True, True] + counts[True, False]
        print(
            f"{bits:12} | {counts.total():5} | {warned:13} | {counts[True, True]:16} | "
            f"{counts[False, True]:15}"
        )
    best = {True: float("inf"), False: float("inf")}
    for turn in range(2 * ROUNDS):
        strict = turn % 2 == 0
        best[strict] = min(best[strict], _microseconds(photographs, strict))
    print(f"decoding: {best[True]:.0f} µs a picture with warnings, {best[False]:.0f} without")


def _file(number: int) -> bytes:
    file = BytesIO()
    PIL.Image.fromarray(picture(number)).save(file, "JPEG", quality=85 + number % 6)
    return file.getvalue()


def _flipped(whole: bytes, bits: int, seed: int) -> bytes:
    data, draw = bytearray(whole), random.Random(seed)
    for _ in range(bits):
        bit = draw.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def _warned(data: bytes) -> bool:
    try:
        simplejpeg.decode_jpeg(data)
    except ValueError:
        return True
    return False


def _refused(data: bytes) -> bool:
    try:
        Image().decode(data, np.empty((224, 224, 3), np.uint8))
    except InvalidSample:
        return True
    return False


def _microseconds(photographs: list[bytes], strict: bool) -> float:
    start = time.perf_counter()
    for whole in photographs:
        simplejpeg.decode_jpeg(whole, strict=strict)
    return 1e6 * (time.perf_counter() - start) / len(photographs)


if __name__ == "__main__":
    main()
