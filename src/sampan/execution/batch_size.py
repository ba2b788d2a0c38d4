"""The rows of a batch on a GPU where the settings leave it to the job."""

import logging
import time
from collections.abc import Callable
from functools import partial

from sampan.encoders.pretrained.inputs import longest
from sampan.execution.out_of_memory import free_memory, is_out_of_memory
from sampan.plan import memory
from sampan.plugins import Encode, Encoder, Modality

log = logging.getLogger("sampan")

GAIN = 1.03
"""Times faster that a batch of twice the rows has to be."""
SHARE = 0.9
"""Of a GPU's memory that a batch may take; the next one's input has to fit beside it."""


def find_batch_rows(
    encoder: Encoder, encode: Encode, modality: Modality, device: str, what: str
) -> int:
    """
    What the settings say; where they say `auto`, on a GPU, what `largest` finds with blank rows.

    Said in the log. Another process may come to another number where two are almost as fast.
    """
    row_bytes = longest(modality, 1)[0].nbytes
    most = memory.batch_rows(encoder, device, row_bytes)
    if encoder.batch != "auto" or device != "cuda":
        return most
    rows = largest(partial(_rate, encode, modality, device), most)
    log.info("%s: batches of %s rows, of %s at most", what, f"{rows:,}", f"{most:,}")
    return rows


def largest(rate: Callable[[int], float | None], most: int, first: int = 32) -> int:
    """
    The largest power of two, up to `most`, that fits and is faster than half of it.

    `rate(rows)` is rows a second, None where so many do not fit. Sizes from `first` on are tried,
    and smaller ones only where that one does not fit; 1 is never tried.
    """
    rows = min(first, most)
    best = rate(rows)
    while best is None and rows > 1:
        rows //= 2
        if rows > 1:
            best = rate(rows)
    if best is None or rows < first:
        return rows
    while 2 * rows <= most:
        found = rate(2 * rows)
        if found is None or found < GAIN * best:
            break
        rows, best = 2 * rows, found
    return rows


def _rate(encode: Encode, modality: Modality, device: str, rows: int) -> float | None:
    """Rows a second, of such that cost as much as any can; None where they do not fit."""
    import torch

    data, length = longest(modality, rows)
    free_memory(device)
    torch.cuda.reset_peak_memory_stats()
    try:
        for _ in range(2):  # until kernels are chosen, and memory is taken here and there
            encode(data, length)
        start = time.perf_counter()
        encode(data, length)
        seconds = time.perf_counter() - start
    except Exception as fault:
        if not is_out_of_memory(fault):
            raise
        return None
    total = torch.cuda.mem_get_info()[1]
    return rows / seconds if torch.cuda.max_memory_reserved() <= SHARE * total else None
