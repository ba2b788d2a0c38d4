"""
The order of samples: a pure function of (seed, epoch, counter), with nothing to keep in memory.

A balanced Feistel network permutes the smallest power-of-four domain that holds all rows, and walks
its cycles until it is back among them (Black and Rogaway, "Ciphers with Arbitrary Finite Domains",
CT-RSA 2002, sections 3 and 4). Its round function is the finaliser of SplitMix64 (Steele, Lea and
Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014): fast and well mixed, not
secret. Any worker or rank finds its samples from its counters alone, and a restart needs no more
than the step.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8
STREAMS = ("order", "weights", "dropout")

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def derived_seed(seed: int, stream: Literal["order", "weights", "dropout"], *parts: int) -> int:
    """A 64-bit seed of one purpose, unrelated to those of other purposes or parts."""
    state = 0
    for part in (seed, STREAMS.index(stream), *parts):
        state = (state + part + _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * _FIRST) & _MASK
        state = ((state ^ (state >> 27)) * _SECOND) & _MASK
        state ^= state >> 31
    return state


def shuffled(counters: NDArray[np.int64], *, size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """
    Positions at which the samples number `counters` of an epoch lie.

    Over all counters from 0 to `size` - 1 these are all positions from 0 to `size` - 1, each once.
    A `ValueError` where a counter is outside.
    """
    if counters.size and not 0 <= counters.min() <= counters.max() < size:
        raise ValueError(f"counters from {counters.min()} to {counters.max()} for {size} samples")
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = [derived_seed(seed, "order", epoch, turn) for turn in range(ROUNDS)]
    positions = counters.astype(np.uint64)
    outside = np.arange(len(positions))
    while outside.size:
        positions[outside] = _feistel(positions[outside], half, keys)
        outside = outside[positions[outside] >= size]
    return positions.astype(np.int64)


def _feistel(values: NDArray[np.uint64], half: int, keys: list[int]) -> NDArray[np.uint64]:
    mask, shift = np.uint64(2**half - 1), np.uint64(half)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right + np.uint64(key)) & mask)
    return left << shift | right


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND)
    return values ^ (values >> np.uint64(31))


def num_batches(size: int, batch_size: int) -> int:
    """Batches of an epoch."""
    return -(-size // batch_size)


def batch(
    rows: NDArray[np.int64], number: int, *, batch_size: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """
    The rows of one batch of an epoch.

    The epoch is cut into batches whose sizes differ by one at most, none above `batch_size`: a
    contrastive loss depends on the size, so no small remainder is left for the end.
    """
    size = len(rows)
    first, end = _bounds(size, number, batch_size)
    return rows[shuffled(np.arange(first, end), size=size, seed=seed, epoch=epoch)]


def batch_sizes(size: int, batch_size: int) -> list[int]:
    """Samples of each batch of an epoch."""
    bounds = (_bounds(size, number, batch_size) for number in range(num_batches(size, batch_size)))
    return [end - first for first, end in bounds]


def _bounds(size: int, number: int, batch_size: int) -> tuple[int, int]:
    batches = num_batches(size, batch_size)
    return number * size // batches, (number + 1) * size // batches
