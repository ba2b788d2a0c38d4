"""
What a job's processes take, in MB: for the rules that ask for it and the steps that check it.

From the settings alone; no array library is imported here.
"""

import math
from collections.abc import Mapping
from typing import Literal

from sampan import plugins

MASTER_MB = 400
"""A step's own process: Python, Arrow, the Dask scheduler."""
WORKER_MB = 350
"""A worker process before it does anything: Python, Dask, and torch or the decoders."""

AHEAD_BYTES: Mapping[str, int] = {"processes": 32 * 2**20, "one": 128 * 2**20}
"""Rows that a worker holds ready for its encoder, in bytes; as much again of what it read."""
WRITE_AHEAD_BYTES = 8 * 2**20
"""The same of one that stores what it decodes."""
LARGEST_BLOCK_BYTES = AHEAD_BYTES["processes"] // 2
"""Rows that an encoder of one thread is given at a time, in bytes; one row may be more."""
BLOCKS = 3
"""That a worker holds: one under way, one ready, one being read."""

AUTO_ROWS: Mapping[str, int] = {"cpu": 32, "cuda": 1024}
"""Rows in a batch at most where the settings say `auto`, on each device."""
AUTO_BYTES = 160 * 2**20
"""Bytes of such a batch at most, as its rows are stored; 32 rows may be more."""

LONG_ROW_BYTES = 2**21
"""From here on a row's length is named where memory does not suffice."""
SHORTER = "set less seconds, height and width, or bytes for their modality"

SAMPLE_BYTES = {"classify": 16, "regress": 48, "align": 16, "retrieve": 16}
"""Of a row's split, role, reason, label and number; targets are scaled in three copies."""
CONTENT_BYTES = 64
"""Of a row's digest and its place among all, of each modality, while equal ones are found."""
PARTLY_MB = 128
"""Of rows that are read, hashed and written, some at a time."""
MODEL_MB = 4096
"""Of a model's job at least, for features of some thousand rows and the model itself."""
SNAKEMAKE_MB = 400
"""The two Snakemakes around the step in a Slurm job; it counts where a job's memory is limited."""


def modality_mb(plugin: plugins.Modality, threads: int) -> int:
    """Memory that a preprocess job needs, in MB: its own process, and workers that decode."""
    # of a row that is longer: two ready, one being written, one that fills a chunk
    work = decoder_bytes(plugin) + max(2 * WRITE_AHEAD_BYTES, 4 * row_bytes(plugin))
    base = WORKER_MB if plugin.workers == "processes" else 0
    return MASTER_MB + threads * (base + -(-work // 2**20))


def decoder_bytes(plugin: plugins.Modality) -> int:
    """Working memory of one thread that decodes, and of one that reads for it."""
    return plugin.memory_bytes() + 2 * plugin.max_bytes


def encoder_mb(
    plugin: plugins.Encoder,
    threads: int,
    gpus: int = 0,
    fused: plugins.Modality | None = None,
    stored: plugins.Modality | None = None,
) -> int:
    """
    Memory that an extract job needs, in MB: its own process, and workers that encode; those that
    decode a `fused` modality besides hold its decoders and what is ready for the encoder, those of
    a `stored` one its rows where they are long.
    """
    on_gpus = gpus > 0 and "cuda" in plugin.devices
    shares = workers_on("cuda" if on_gpus else "cpu", plugin)
    workers = threads if shares == "processes" else max(1, gpus if on_gpus else 1)
    work = plugin.memory_bytes()
    modality = fused or stored
    if modality is not None:
        if isinstance(plugin, plugins.GrowsWithRows):
            work = max(work, plugin.row_memory_bytes(modality))
        row = row_bytes(modality)
        # a rule's memory is set before it is known whether it is granted a GPU
        perhaps_gpu = "cuda" in plugin.devices
        batch = batch_rows(plugin, "cuda" if perhaps_gpu else "cpu", row)
        block = row * rows_of_block(shares, batch, row)
    if fused is not None:
        decoders = max(1, threads // workers)
        held = 2 * BLOCKS if perhaps_gpu else BLOCKS  # and two buffers to copy from
        work += decoders * decoder_bytes(fused) + 2 * AHEAD_BYTES[shares] + held * block
    elif stored is not None:
        # what an encoder says of itself has room for a block that is not larger than this
        usual = AUTO_BYTES if perhaps_gpu else LARGEST_BLOCK_BYTES
        work += BLOCKS * max(0, block - usual)
    return MASTER_MB + workers * (WORKER_MB + -(-work // 2**20))


def workers_on(device: str, plugin: plugins.Encoder) -> Literal["processes", "one"]:
    """How an encoder's processes share the job's threads: on a GPU each is the only one of its."""
    return "one" if device == "cuda" else plugin.workers


def batch_rows(plugin: plugins.Encoder, device: str, row: int) -> int:
    """Rows of so many bytes in a batch at most, by the settings: a power of two with `auto`."""
    if plugin.batch != "auto":
        return plugin.batch
    rows = AUTO_ROWS[device]
    while rows > AUTO_ROWS["cpu"] and rows * row > AUTO_BYTES:
        rows //= 2
    return rows


def rows_of_block(workers: Literal["processes", "one"], batch: int, row: int) -> int:
    """Rows of so many bytes that an encoder with these workers is given at a time, of a batch."""
    return batch if workers == "one" else max(1, min(batch, LARGEST_BLOCK_BYTES // max(1, row)))


def row_bytes(modality: plugins.Modality) -> int:
    """Of one stored row."""
    spec = modality.array()
    return math.prod(spec.shape) * _bytes_of(spec.dtype)


def row_in_words(modality: plugins.Modality) -> str:
    """`46.1 MB a row: 23,040,000 time int16`."""
    spec = modality.array()
    sizes = " × ".join(f"{size:,} {dim}" for dim, size in zip(spec.dims, spec.shape, strict=True))
    return f"{row_bytes(modality) / 1e6:,.1f} MB a row: {sizes} {spec.dtype}"


def advice_on(modality: plugins.Modality) -> str:
    """What to change where rows as long as these are why memory does not suffice; else nothing."""
    if row_bytes(modality) < LONG_ROW_BYTES:
        return ""
    return f"rows are long ({row_in_words(modality)}): {SHORTER}"


def _bytes_of(dtype: str) -> int:
    """Of `uint8`, `int16`, `float32`, …; 1 of `bool`."""
    return int(dtype.lstrip("abcdefghijklmnopqrstuvwxyz") or 8) // 8


def samples_mb(task: str, rows: int, modalities: int) -> int:
    """What a model's job needs beside features, with so many rows and modalities."""
    row_bytes = SAMPLE_BYTES[task]
    if task in ("align", "retrieve"):
        row_bytes += CONTENT_BYTES * modalities
    return MASTER_MB + WORKER_MB + PARTLY_MB + -(-row_bytes * rows // 2**20)
