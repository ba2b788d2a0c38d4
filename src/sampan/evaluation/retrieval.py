"""
Retrieval from one modality to another, over the distinct items of the test split.

Rows with identical content in the target modality are one item. Every row is a query, also where
its own content repeats. Ties go against the query: its rank is 1 + the number of other items that
score as high as its own, or higher, so a model that embeds everything alike does not look good.
"""

from collections.abc import Mapping
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from sampan.errors import DataError
from sampan.evaluation.bootstrap import Metric, Statistic, intervals

RECALL_AT = (1, 5, 10)
TIE = 1e-6
"""Cosines closer than this are equal: products of equal vectors may differ in their last bits."""
SCORES_AT_ONCE = 2**22
ITEMS_AT_ONCE = 8192


def item_of_row(contents: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(sample) contents → (item) row that shows each item first, and (sample) the row's item."""
    _, first, items = np.unique(contents, return_index=True, return_inverse=True)
    return first.astype(np.int64), items.astype(np.int64)


def ranks(
    queries: NDArray[np.float32], targets: NDArray[np.float32], contents: NDArray[np.int64]
) -> NDArray[np.int64]:
    """
    The rank, from 1, of each query's own item among all distinct items, by cosine.

    `queries` and `targets` (sample, embedding) are the same rows in two modalities, `contents`
    (sample) numbers the targets' contents. Memory: the embeddings once more, and 16 MiB of scores.
    """
    first, own = item_of_row(contents)
    queries, items = _unit(queries), _unit(targets[first])
    own_score = np.einsum("ij,ij->i", queries, items[own])
    found = np.ones(len(queries), dtype=np.int64)
    width = min(len(items), ITEMS_AT_ONCE)
    height = max(1, SCORES_AT_ONCE // max(width, 1))
    for top in range(0, len(queries), height):
        rows = slice(top, top + height)
        for left in range(0, len(items), width):
            scores = queries[rows] @ items[left : left + width].T
            rivals = scores >= own_score[rows, None] - TIE
            mine = own[rows, None] == np.arange(left, left + scores.shape[1])
            found[rows] += (rivals & ~mine).sum(axis=1)
    return found


def nearest(
    queries: NDArray[np.float32],
    targets: NDArray[np.float32],
    contents: NDArray[np.int64],
    *,
    count: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """
    (query, count) rows of the best items, best first, and their cosines.

    Each item is given as the first row that shows it. Memory: the embeddings once more, and the
    scores of as many queries as make 64 MiB, of one query at least.
    """
    first = np.sort(item_of_row(contents)[0])
    queries, items = _unit(queries), _unit(targets[first])
    count = min(count, len(items))
    rows = np.empty((len(queries), count), np.int64)
    cosines = np.empty((len(queries), count), np.float32)
    height = max(1, 4 * SCORES_AT_ONCE // max(1, len(items)))
    for top in range(0, len(queries), height):
        block = slice(top, top + height)
        scores = queries[block] @ items.T
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        found = np.take_along_axis(scores, best, axis=1)
        order = np.lexsort((best, -found), axis=1)
        rows[block] = first[np.take_along_axis(best, order, axis=1)]
        cosines[block] = np.take_along_axis(found, order, axis=1)
    return rows, cosines


def retrieval_metrics(
    embeddings: Mapping[str, NDArray[np.float32]],
    contents: Mapping[str, NDArray[np.int64]],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Metric]:
    """
    `a→b/recall_at_1`, `…_5`, `…_10` and `a→b/median_rank` for each ordered pair of modalities.

    Both arguments map modalities to (sample, …) over the same rows. Queries are resampled for the
    intervals, the items stay as they are. Embeddings of different lengths are a `DataError`.
    """
    lengths = {name: vectors.shape[1] for name, vectors in embeddings.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(
            f"embeddings of different lengths cannot be compared: {listed}; "
            "take encoders that share a space, or task: align"
        )
    found: dict[str, Metric] = {}
    for one, other in permutations(embeddings, 2):
        rank = ranks(embeddings[one], embeddings[other], contents[other])
        statistics: dict[str, Statistic] = {
            f"{one}→{other}/recall_at_{k}": _recall(rank, k) for k in RECALL_AT
        }
        recalls = tuple(statistics)
        statistics[f"{one}→{other}/median_rank"] = _median(rank)
        found |= intervals(statistics, len(rank), resamples=resamples, seed=seed, shares=recalls)
    return found


def chance(contents: Mapping[str, NDArray[np.int64]]) -> dict[str, float]:
    """What random ranks would score: min(k, items) / items, and (items + 1) / 2."""
    found: dict[str, float] = {}
    for one, other in permutations(contents, 2):
        items = len(np.unique(contents[other]))
        for k in RECALL_AT:
            found[f"{one}→{other}/recall_at_{k}"] = min(k, items) / items
        found[f"{one}→{other}/median_rank"] = (items + 1) / 2
    return found


def _recall(rank: NDArray[np.int64], k: int) -> Statistic:
    return lambda numbers: np.asarray((rank <= k)[numbers].mean(axis=1))


def _median(rank: NDArray[np.int64]) -> Statistic:
    return lambda numbers: np.asarray(np.median(rank[numbers], axis=1))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)
