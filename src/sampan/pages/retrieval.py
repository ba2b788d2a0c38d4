"""Queries of a retrieval and what was found for them, from well to badly answered ones."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.dataset.examples import Examples
from sampan.reporting.data import Direction, Hit, Query
from sampan.reporting.page import LIMITS
from sampan.storage.parquet import open_parquet, read_table


def directions_of(
    predictions: Path, examples: Examples, modalities: Sequence[str]
) -> list[Direction]:
    """Examples for each ordered pair of modalities; memory: a few numbers a test sample."""
    return [_direction(predictions, examples, *pair) for pair in permutations(modalities, 2)]


def spread(ranks: NDArray[np.int64], most: int) -> list[int]:
    """
    Positions of `most` queries that stand for equal shares of all, the best answered first.

    Queries are ordered by rank, and by position where ranks are equal; of each share the middle one
    is taken.
    """
    order = np.lexsort((np.arange(len(ranks)), ranks))
    middles = (np.arange(most) + 0.5) / most * len(ranks)
    return [int(order[place]) for place in dict.fromkeys(middles.astype(int).tolist())]


def _direction(predictions: Path, examples: Examples, source: str, target: str) -> Direction:
    name = f"{source}→{target}"
    table = read_table(predictions, {"row": "int", f"{name}/rank": "int"}, alone=True)
    rows, ranks = table["row"].to_numpy(), table[f"{name}/rank"].to_numpy()
    chosen = spread(ranks, LIMITS["queries"]) if len(rows) else []
    found = _lines(predictions, [f"{name}/nearest", f"{name}/scores"], chosen)
    wanted = {int(rows[place]) for place in chosen}
    wanted |= {row for line in found.values() for row in line[f"{name}/nearest"]}
    keys = examples.cells(wanted, ["key"])
    queries = []
    for place in chosen:
        row, line = int(rows[place]), found[place]
        own = examples.digest(target, row)
        hits = [
            Hit(
                key=keys[hit]["key"],
                media=examples.media(target, hit),
                right=examples.digest(target, hit) == own,
                score=score,
            )
            for hit, score in zip(line[f"{name}/nearest"], line[f"{name}/scores"], strict=True)
        ]
        media = examples.media(source, row)
        queries.append(Query(key=keys[row]["key"], media=media, hits=hits, rank=int(ranks[place])))
    items = examples.different(target, rows)
    return Direction(source=source, target=target, items=items, queries=queries)


def _lines(path: Path, columns: list[str], places: Sequence[int]) -> dict[int, dict[str, Any]]:
    """A few lines of a Parquet file, by position; only their row groups are read."""
    file = open_parquet(path, dict.fromkeys(columns, "any"))
    found: dict[int, dict[str, Any]] = {}
    first = 0
    for number in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(number).num_rows
        here = [place for place in places if first <= place < first + size]
        if here:
            group = file.read_row_group(number, columns=columns)
            found |= {place: group.slice(place - first, 1).to_pylist()[0] for place in here}
        first += size
    return found
