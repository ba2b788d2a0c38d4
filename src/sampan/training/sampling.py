"""
The order of samples: a pure function of (seed, epoch, counter), with nothing to keep in memory.

A balanced Feistel network permutes the smallest power-of-four domain that holds all rows, and walks
its cycles until it is back among them (Black and Rogaway, "Ciphers with Arbitrary Finite Domains",
CT-RSA 2002, sections 3 and 4). Its round function is the finaliser of SplitMix64 (Steele, Lea and
Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014): fast and well mixed, not
secret. Any worker or rank finds its samples from its counters alone, and a restart needs no more
than the step.

A shuffle by windows reads files in stretches: an epoch's rows, turned by a number of the epoch's,
are cut into stretches, which are taken in such a random order, some at a time; rows are shuffled
among those of a window.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8
STRETCHES = 64
"""In a window."""
COUNTERS = 8192
"""Whose positions are worked out at a time."""
STREAMS = ("order", "weights", "dropout", "stretches", "within", "turn")

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


Stream: TypeAlias = Literal["order", "weights", "dropout", "stretches", "within", "turn"]


def derived_seed(seed: int, stream: Stream, *parts: int) -> int:
    """A 64-bit seed of one purpose, unrelated to those of other purposes or parts."""
    state = 0
    for part in (seed, STREAMS.index(stream), *parts):
        state = (state + part + _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * _FIRST) & _MASK
        state = ((state ^ (state >> 27)) * _SECOND) & _MASK
        state ^= state >> 31
    return state


def shuffled(
    counters: NDArray[np.int64], *, size: int, seed: int, epoch: int, window: int = 0
) -> NDArray[np.int64]:
    """
    Positions at which the samples number `counters` of an epoch lie; those of a shuffle by windows
    of so many rows where `window` is less than `size` and not 0.

    Over all counters from 0 to `size` - 1 these are all positions from 0 to `size` - 1, each once.
    A `ValueError` where a counter is outside.
    """
    if 0 < window < size:
        return Windows(size=size, seed=seed, epoch=epoch, rows=window).positions(counters)
    return _permuted(counters, size, lambda number: derived_seed(seed, "order", epoch, number))


def _permuted(
    counters: NDArray[np.int64], size: int, key: Callable[[int], int]
) -> NDArray[np.int64]:
    if counters.size and not 0 <= counters.min() <= counters.max() < size:
        raise ValueError(f"counters from {counters.min()} to {counters.max()} for {size} samples")
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = [key(number) for number in range(ROUNDS)]
    positions = counters.astype(np.uint64)
    outside = np.arange(len(positions))
    while outside.size:
        positions[outside] = _feistel(positions[outside], half, keys)
        outside = outside[positions[outside] >= size]
    return positions.astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The windows of one epoch: of `rows` each, or as many stretches as they are."""

    size: int
    seed: int
    epoch: int
    rows: int

    @property
    def stretch(self) -> int:
        """Rows of a stretch; those that are left over are the last of the epoch."""
        return max(1, self.rows // STRETCHES)

    def of(self, counters: range) -> range:
        """The windows in which these samples are."""
        width = self._width
        return range(counters.start // width, -(-counters.stop // width))

    def stretches(self, window: int) -> Iterator[range]:
        """Positions that are next to each other; some begin again at 0."""
        first = window * self._width
        stop = min(first + self._width, self.size)
        for start in range(first, stop, self.stretch):
            (begin,) = self._places(np.array([start]))
            length = min(self.stretch, stop - start)
            yield range(begin, min(begin + length, self.size))
            if begin + length > self.size:
                yield range(begin + length - self.size)

    def positions(self, counters: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the samples number `counters` of the epoch lie."""
        if counters.size and not 0 <= counters.min() <= counters.max() < self.size:
            raise ValueError(f"counters to {counters.max()} for {self.size} samples")
        out = np.empty(len(counters), np.int64)
        windows = counters // self._width
        for window in np.unique(windows).tolist():
            here = windows == window
            first = window * self._width
            count = min(self._width, self.size - first)
            within = _permuted(counters[here] - first, count, self._key("within", window))
            out[here] = self._places(first + within)
        return out

    @property
    def _width(self) -> int:
        return self.stretch * STRETCHES

    def _places(self, turns: NDArray[np.int64]) -> NDArray[np.int64]:
        whole = self.size // self.stretch
        number, within = np.divmod(turns, self.stretch)
        is_whole = number < whole
        number[is_whole] = _permuted(number[is_whole], whole, self._key("stretches"))
        turn = derived_seed(self.seed, "turn", self.epoch) % self.size
        found: NDArray[np.int64] = (number * self.stretch + within + turn) % self.size
        return found

    def _key(self, stream: Stream, *parts: int) -> Callable[[int], int]:
        return lambda number: derived_seed(self.seed, stream, self.epoch, *parts, number)


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
    window: int = 0,
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
    order = shuffled(share, size=len(rows), seed=seed, epoch=epoch, window=window)
    return rows[order].astype(np.int64)


def batches(
    rows: NDArray[np.integer[Any]],
    numbers: range,
    *,
    batch_size: int,
    seed: int,
    window: int = 0,
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
        counters = np.concatenate(shares)
        order = shuffled(counters, size=len(rows), seed=seed, epoch=epoch, window=window)
        found = rows[order].astype(np.int64)
        yield from np.split(found, np.cumsum([len(share) for share in shares[:-1]]))
        numbers = numbers[count:]


def windows(
    size: int, numbers: range, *, batch_size: int, seed: int, window: int
) -> Iterator[tuple[int, list[range]]]:
    """
    The windows that a run's batches need, in their order: the number of the first batch that does,
    and the positions of the window's stretches.
    """
    epoch_batches, known = num_batches(size, batch_size), (-1, -1)
    for number in numbers:
        epoch, within = divmod(number, epoch_batches)
        found = Windows(size=size, seed=seed, epoch=epoch, rows=window)
        for one in found.of(range(*_bounds(size, within, batch_size))):
            if (epoch, one) > known:
                known = (epoch, one)
                yield number, list(found.stretches(one))


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
