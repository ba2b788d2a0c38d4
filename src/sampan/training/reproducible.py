"""Torch with the threads that were granted, and operations that always give the same bits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def reproducible(*, threads: int, device: str) -> Iterator[None]:
    """Inside, equal inputs give equal bits for the same threads, device and library versions."""
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    if device.startswith("cuda"):
        # Without it cuBLAS may sum in another order; read when the first handle is made.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # the other way to say it loads torch's compiler
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
