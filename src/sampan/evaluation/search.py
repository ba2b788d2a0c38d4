"""
Each query's rank and nearest items among many, without all pairs at once.

Scores are made in tiles that stay in a processor's cache, and looked at there: an item is sorted
only where it may be among the nearest so far.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

TIE = 1e-6
"""Cosines closer than this are equal: products of equal vectors may differ in their last bits."""
QUERIES_AT_ONCE = 512
ITEMS_AT_ONCE = 2048
NONE = np.iinfo(np.int64).max
"""In place of an item, below all others."""


class Found(NamedTuple):
    """What was found for each query."""

    rank: NDArray[np.int64]
    """(query) from 1: 1 + the number of other items that score as high as its own, or higher."""
    items: NDArray[np.int64]
    """(query, place) the nearest items, best first; the lower number where scores are equal."""
    scores: NDArray[np.float32]
    """(query, place) their cosines."""


def search(
    queries: NDArray[np.float32],
    items: NDArray[np.float32],
    own: NDArray[np.int64],
    *,
    count: int,
    threads: int = 1,
    right: NDArray[np.float32] | None = None,
    numbers: NDArray[np.int64] | None = None,
) -> Found:
    """
    The rank and the `count` nearest of `items` (item, embedding) for each of `queries` (query, …).

    All vectors have length 1; `own` (query) numbers the item that is right for each. Where `items`
    are only some, in ascending order, `numbers` (item) are theirs, and `right` (query, embedding)
    is each query's own item, which it is compared with beside. Exact; the work of n queries and m
    items is one product of their matrices, on so many threads. Memory: the result, and a tile of
    scores (4 MiB) for each thread.
    """
    numbers = np.arange(len(items)) if numbers is None else numbers
    count = min(count, len(items))
    found = Found(
        np.ones(len(queries), np.int64),
        np.zeros((len(queries), count), np.int64),
        np.zeros((len(queries), count), np.float32),
    )

    def look(rows: slice) -> None:
        wanted = items[own[rows]] if right is None else right[rows]
        block = _Block(queries[rows], items, numbers, own[rows], wanted, count)
        found.rank[rows], found.items[rows], found.scores[rows] = block.search()

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(look, _blocks(len(queries))))
    return found


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(top, top + QUERIES_AT_ONCE) for top in range(0, rows, QUERIES_AT_ONCE))


class _Block:
    """Some queries against all items, a tile at a time."""

    def __init__(
        self,
        queries: NDArray[np.float32],
        items: NDArray[np.float32],
        numbers: NDArray[np.int64],
        own: NDArray[np.int64],
        right: NDArray[np.float32],
        count: int,
    ) -> None:
        self._queries, self._items, self._numbers, self._count = queries, items, numbers, count
        self._place = np.searchsorted(numbers, own)
        """(query) where its own item is among the items, or would be."""
        is_there = numbers[np.minimum(self._place, len(numbers) - 1)] == own
        self._place[~is_there] = -1
        score = np.einsum("ij,ij->i", queries, right)
        self._least = (score - np.float32(TIE))[:, None]
        self._rank = np.ones(len(queries), np.int64)
        self._best = np.where(is_there, NONE, own)[:, None]
        self._scores = np.where(is_there, np.float32(-np.inf), score)[:, None]

    def search(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        for left in range(0, len(self._items), ITEMS_AT_ONCE):
            scores = self._queries @ self._items[left : left + ITEMS_AT_ONCE].T
            self._count_rivals(scores, left)
            self._keep_nearest(scores, left)
        return self._rank, self._best, self._scores

    def _count_rivals(self, scores: NDArray[np.float32], left: int) -> None:
        rivals = scores >= self._least
        here = np.flatnonzero((self._place >= left) & (self._place < left + scores.shape[1]))
        rivals[here, self._place[here] - left] = False
        self._rank += np.count_nonzero(rivals, axis=1)

    def _keep_nearest(self, scores: NDArray[np.float32], left: int) -> None:
        if self._best.shape[1] < self._count:
            rows = np.arange(len(scores))
        else:  # an equal score comes after the lower number, which is there
            rows = np.flatnonzero(scores.max(axis=1, initial=-np.inf) > self._scores[:, -1])
        if not len(rows):
            return
        places, values = _largest(scores[rows], self._count)
        places = np.hstack([self._best[rows], self._numbers[places + left]])
        values = np.hstack([self._scores[rows], values])
        order = np.lexsort((places, -values), axis=1)[:, : self._count]
        if self._best.shape[1] < self._count:
            self._best = np.take_along_axis(places, order, axis=1)
            self._scores = np.take_along_axis(values, order, axis=1)
        else:
            self._best[rows] = np.take_along_axis(places, order, axis=1)
            self._scores[rows] = np.take_along_axis(values, order, axis=1)


def _largest(
    scores: NDArray[np.float32], count: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """(row, place) of the `count` largest of a row, lower places where equal, and their scores."""
    count = min(count, scores.shape[1])
    places = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(scores, places, axis=1)
    least = values.min(axis=1, keepdims=True)
    tied = np.flatnonzero(
        (scores == least).sum(axis=1) > (values == least).sum(axis=1)
    )  # which of them argpartition took is chance
    for row in tied:
        places[row] = np.argsort(-scores[row], kind="stable")[:count]
        values[row] = scores[row, places[row]]
    return places, values
