"""
What a job's processes take, in MB: for the rules that ask for it and the steps that check it.

From the settings alone; no array library is imported here.
"""

import math
from collections.abc import Mapping

from sampan import plugins

MASTER_MB = 400
"""A step's own process: Python, Arrow, the Dask scheduler."""
WORKER_MB = 350
"""A worker process before it does anything: Python, Dask, and torch or the decoders."""

AHEAD_BYTES: Mapping[str, int] = {"processes": 32 * 2**20, "one": 128 * 2**20}
"""Rows that a worker holds ready for its encoder, in bytes; as much again of what it read."""
WRITE_AHEAD_BYTES = 8 * 2**20
"""The same of one that stores what it decodes."""

SNAKEMAKE_MB = 400
"""The two Snakemakes around the step in a Slurm job; it counts where a job's memory is limited."""


def modality_mb(plugin: plugins.Modality, threads: int) -> int:
    """Memory that a preprocess job needs, in MB: its own process, and workers that decode."""
    work = decoder_bytes(plugin) + 2 * WRITE_AHEAD_BYTES
    base = WORKER_MB if plugin.workers == "processes" else 0
    return MASTER_MB + threads * (base + -(-work // 2**20))


def decoder_bytes(plugin: plugins.Modality) -> int:
    """Working memory of one thread that decodes, and of one that reads for it."""
    return plugin.memory_bytes() + 2 * plugin.max_bytes


def encoder_mb(
    plugin: plugins.Encoder, threads: int, gpus: int = 0, fused: plugins.Modality | None = None
) -> int:
    """
    Memory that an extract job needs, in MB: its own process, and workers that encode; those that
    decode a `fused` modality besides hold its decoders and what is ready for the encoder.
    """
    workers = threads if plugin.workers == "processes" else max(1, gpus)
    work = plugin.memory_bytes()
    if fused is not None:
        spec = fused.array()
        row = math.prod(spec.shape) * _bytes_of(spec.dtype)
        # a rule's memory is set before it is known whether it is granted a GPU
        perhaps_gpu = plugin.workers == "one"
        batch = row * plugins.batch_rows(plugin, "cuda" if perhaps_gpu else "cpu", row)
        decoders = max(1, threads // workers)
        held = 6 if perhaps_gpu else 3  # one under way, and two buffers to copy from
        work += decoders * decoder_bytes(fused) + 2 * AHEAD_BYTES[plugin.workers] + held * batch
    return MASTER_MB + workers * (WORKER_MB + -(-work // 2**20))


def _bytes_of(dtype: str) -> int:
    """Of `uint8`, `int16`, `float32`, …; 1 of `bool`."""
    return int(dtype.lstrip("abcdefghijklmnopqrstuvwxyz") or 8) // 8
