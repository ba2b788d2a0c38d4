"""
The order of samples: a pure function of (seed, epoch, counter), with nothing to keep in memory.

A balanced Feistel network permutes the smallest power-of-four domain that holds all rows, and walks
its cycles until it is back among them (Black and Rogaway, "Ciphers with Arbitrary Finite Domains",
CT-RSA 2002, sections 3 and 4). Its round function is the finaliser of SplitMix64 (Steele, Lea and
Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014): fast and well mixed, not
secret. Any worker or rank finds its samples from its counters alone, and a restart needs no more
than the step.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8
COUNTERS = 8192
"""Whose positions are worked out at a time."""
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
    keys = [derived_seed(seed, "order", epoch, number) for number in range(ROUNDS)]
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
    rows: NDArray[np.integer[Any]],
    number: int,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    rank: int = 0,
    ranks: int = 1,
) -> NDArray[np.int64]:
    """
    The rows of one batch of an epoch, or the share of one of several ranks.

    The epoch is cut into batches whose sizes differ by one at most, none above `batch_size`: a
    contrastive loss depends on the size, so no small remainder is left for the end. A batch is cut
    among the ranks in the same way; their shares one after another are the batch, whatever their
    number.
    """
    share = _share(len(rows), number, batch_size, rank, ranks)
    order = shuffled(share, size=len(rows), seed=seed, epoch=epoch)
    return rows[order].astype(np.int64)


def batches(
    rows: NDArray[np.integer[Any]],
    numbers: range,
    *,
    batch_size: int,
    seed: int,
    rank: int = 0,
    ranks: int = 1,
) -> Iterator[NDArray[np.int64]]:
    """
    Batches of a run, whose numbers go on from epoch to epoch: a restart begins at any.

    Each is that of `batch`; the order of some is worked out together, which is quicker.
    """
    epoch_batches, together = num_batches(len(rows), batch_size), -(-COUNTERS // batch_size)
    while numbers:
        epoch, first = divmod(numbers[0], epoch_batches)
        count = min(len(numbers), together, epoch_batches - first)
        shares = [
            _share(len(rows), first + offset, batch_size, rank, ranks) for offset in range(count)
        ]
        order = shuffled(np.concatenate(shares), size=len(rows), seed=seed, epoch=epoch)
        found = rows[order].astype(np.int64)
        yield from np.split(found, np.cumsum([len(share) for share in shares[:-1]]))
        numbers = numbers[count:]


def batch_sizes(size: int, batch_size: int) -> list[int]:
    """Samples of each batch of an epoch."""
    bounds = (_bounds(size, number, batch_size) for number in range(num_batches(size, batch_size)))
    return [end - first for first, end in bounds]


def _share(size: int, number: int, batch_size: int, rank: int, ranks: int) -> NDArray[np.int64]:
    """Counters of a rank's share of a batch."""
    assert 0 <= rank < ranks, (rank, ranks)
    first, end = _bounds(size, number, batch_size)
    return np.arange(*(first + part * (end - first) // ranks for part in (rank, rank + 1)))


def _bounds(size: int, number: int, batch_size: int) -> tuple[int, int]:
    batches = num_batches(size, batch_size)
    return number * size // batches, (number + 1) * size // batches
