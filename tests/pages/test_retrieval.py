"""Which queries stand for all of them."""

import numpy as np

from sampan.pages.retrieval import spread


def test_queries_are_spread_evenly_from_well_to_badly_answered_ones() -> None:
    ranks = np.random.default_rng(0).permutation(100) + 1

    chosen = spread(ranks, 5)

    assert ranks[chosen].tolist() == [11, 31, 51, 71, 91]


def test_of_equal_ranks_the_earlier_query_comes_first() -> None:
    assert spread(np.ones(5, np.int64), 5) == [0, 1, 2, 3, 4]


def test_few_queries_are_all_chosen_once() -> None:
    assert spread(np.array([7, 1]), 5) == [1, 0]
