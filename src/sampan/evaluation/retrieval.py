"""
Retrieval from one modality to another, over the distinct items of the test split.

Rows with identical content in the target modality are one item. Every row is a query, also where
its own content repeats. Ties go against the query: its rank is 1 + the number of other items that
score as high as its own, or higher, so a model that embeds everything alike does not look good.
"""

from collections.abc import Mapping
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sampan.errors import DataError
from sampan.evaluation.bootstrap import (
    CountStatistic,
    Metric,
    interval_of_median,
    intervals_of_kinds,
)
from sampan.evaluation.search import search

RECALL_AT = (1, 5, 10)


class Retrieval(NamedTuple):
    """What the queries of one direction found."""

    rank: NDArray[np.int64]
    """(query) of its own item, from 1."""
    rows: NDArray[np.int64]
    """(query, place) the nearest items, best first, each as the first row that shows it."""
    cosines: NDArray[np.float32]
    """(query, place)"""
    compared: int
    """Items that a query is compared with."""
    sampled: bool
    """Whether those are a sample of the items, and the query's own."""


def item_of_row(contents: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(sample) contents → (item) row that shows each item first, ascending; (sample) its item."""
    _, first, items = np.unique(contents, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return first[order].astype(np.int64), number[items].astype(np.int64)


def retrieve(
    queries: NDArray[np.float32],
    targets: NDArray[np.float32],
    contents: NDArray[np.int64],
    *,
    nearest: int,
    most_items: int,
    seed: int,
    threads: int = 1,
) -> Retrieval:
    """
    Rank and nearest items of each query, by cosine.

    `queries` and `targets` (sample, embedding) are the same rows in two modalities, `contents`
    (sample) numbers the targets' contents. Of more items than `most_items` each query is compared
    with its own and a sample of so many, which the seed decides: then the work grows with the
    queries alone. Memory: the embeddings once more.
    """
    first, own = item_of_row(contents)
    sampled = len(first) > most_items
    if not sampled:
        found = search(_unit(queries), _unit(targets[first]), own, count=nearest, threads=threads)
        return Retrieval(found.rank, first[found.items], found.scores, len(first), sampled)
    generator = np.random.Generator(np.random.PCG64(seed))
    chosen = np.sort(generator.choice(len(first), most_items, replace=False))
    found = search(
        _unit(queries),
        _unit(targets[first[chosen]]),
        own,
        count=nearest,
        threads=threads,
        right=_unit(targets[first[own]]),
        numbers=chosen,
    )
    return Retrieval(found.rank, first[found.items], found.scores, most_items, sampled)


def retrieval_metrics(
    found: Mapping[tuple[str, str], Retrieval], *, resamples: int, seed: int
) -> dict[str, Metric]:
    """
    `a→b/recall_at_1`, `…_5`, `…_10` and `a→b/median_rank` for each ordered pair of modalities.

    Where the items were sampled, the names end with `_of_` and their number. Queries are resampled
    for the intervals, the items stay as they are.
    """
    metrics: dict[str, Metric] = {}
    for (one, other), direction in found.items():
        names = _names(one, other, direction.compared if direction.sampled else None)
        within = np.searchsorted(RECALL_AT, direction.rank)  # 0 for rank 1, 1 for 2 to 5, …
        statistics = {name: _at_most(kind) for kind, name in enumerate(names[:-1])}
        metrics |= intervals_of_kinds(
            statistics,
            np.bincount(within, minlength=len(RECALL_AT) + 1),
            resamples=resamples,
            seed=seed,
            shares=names[:-1],
        )
        metrics[names[-1]] = interval_of_median(direction.rank, resamples=resamples, seed=seed)
    return metrics


def chance(found: Mapping[tuple[str, str], Retrieval]) -> dict[str, float]:
    """What random ranks would score: min(k, items) / items, and (items + 1) / 2."""
    scores: dict[str, float] = {}
    for (one, other), direction in found.items():
        items = direction.compared
        names = _names(one, other, items if direction.sampled else None)
        expected = [*(min(k, items) / items for k in RECALL_AT), (items + 1) / 2]
        scores |= dict(zip(names, expected, strict=True))
    return scores


def directions(embeddings: Mapping[str, NDArray[np.float32]]) -> list[tuple[str, str]]:
    """Each ordered pair of modalities; `DataError` where their embeddings' lengths differ."""
    lengths = {name: vectors.shape[1] for name, vectors in embeddings.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(
            f"embeddings of different lengths cannot be compared: {listed}; "
            "take encoders that share a space, or task: align"
        )
    return list(permutations(embeddings, 2))


def _names(one: str, other: str, sampled: int | None) -> list[str]:
    of = "" if sampled is None else f"_of_{sampled}"
    measured = [*(f"recall_at_{k}" for k in RECALL_AT), "median_rank"]
    return [f"{one}→{other}/{name}{of}" for name in measured]


def _at_most(kind: int) -> CountStatistic:
    return lambda drawn: drawn[:, : kind + 1].sum(axis=1) / drawn.sum(axis=1)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)
