import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from sampan.training import sampling
from sampan.training.sampling import (
    batch,
    batch_sizes,
    batches,
    derived_seed,
    num_batches,
    shuffled,
)


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 3000),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 10**6),
)
def test_an_epoch_visits_every_position_exactly_once(size, seed, epoch):
    found = shuffled(np.arange(size), size=size, seed=seed, epoch=epoch)

    assert np.sort(found).tolist() == list(range(size))


@settings(deadline=None, max_examples=40)
@given(size=st.integers(1, 500), batch_size=st.integers(1, 300))
def test_batches_cover_the_rows_once_and_differ_by_one_row_at_most(size, batch_size):
    rows = np.arange(size) * 3 + 1

    batches = [
        batch(rows, number, batch_size=batch_size, seed=1, epoch=2)
        for number in range(num_batches(size, batch_size))
    ]

    sizes = [len(found) for found in batches]
    assert sorted(np.concatenate(batches)) == rows.tolist()
    assert sizes == batch_sizes(size, batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("ranks", [1, 2, 3, 40])
def test_the_shares_of_any_number_of_ranks_one_after_another_are_the_batches(ranks):
    rows = np.arange(100) * 3
    how = {"batch_size": 32, "seed": 7}

    shares = [list(batches(rows, range(9), **how, rank=rank, ranks=ranks)) for rank in range(ranks)]

    for number, parts in enumerate(zip(*shares, strict=True)):
        epoch, within = divmod(number, 4)
        assert np.concatenate(parts).tolist() == batch(rows, within, **how, epoch=epoch).tolist()
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@settings(deadline=None, max_examples=40)
@given(size=st.integers(1, 500), batch_size=st.integers(1, 60), first=st.integers(0, 40))
def test_a_restart_begins_at_any_batch(size, batch_size, first):
    rows = np.arange(size)
    whole = list(batches(rows, range(60), batch_size=batch_size, seed=1))

    rest = list(batches(rows, range(first, 60), batch_size=batch_size, seed=1))

    assert [found.tolist() for found in rest] == [found.tolist() for found in whole[first:]]


def test_batches_are_the_same_however_many_are_worked_out_together(monkeypatch):
    rows = np.arange(1000)
    whole = list(batches(rows, range(300), batch_size=10, seed=1))
    monkeypatch.setattr(sampling, "COUNTERS", 35)

    found = list(batches(rows, range(300), batch_size=10, seed=1))

    assert [some.tolist() for some in found] == [some.tolist() for some in whole]


def test_any_counter_can_be_asked_alone():
    whole = shuffled(np.arange(1000), size=1000, seed=3, epoch=4)

    alone = [shuffled(np.array([n]), size=1000, seed=3, epoch=4)[0] for n in (0, 17, 999)]

    assert alone == whole[[0, 17, 999]].tolist()


def test_ten_billion_rows_need_no_memory():
    found = shuffled(np.arange(5, 10), size=10**10, seed=0, epoch=0)

    assert len(set(found.tolist())) == 5
    assert found.max() > 10**9


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {
        tuple(shuffled(np.arange(50), size=50, seed=seed, epoch=epoch))
        for seed in range(5)
        for epoch in range(5)
    }

    assert len(orders) == 25


def test_each_position_is_as_likely_to_come_first_and_second():
    size = 13
    found = np.array([shuffled(np.arange(2), size=size, seed=0, epoch=e) for e in range(6000)])

    for column in found.T:
        assert chisquare(np.bincount(column, minlength=size)).pvalue > 1e-4
    apart = (found[:, 1] - found[:, 0]) % size
    assert chisquare(np.bincount(apart, minlength=size)[1:]).pvalue > 1e-4


def test_a_counter_outside_the_epoch_is_refused():
    with pytest.raises(ValueError, match="for 10 samples"):
        shuffled(np.array([10]), size=10, seed=0, epoch=0)


def test_seeds_of_different_purposes_differ():
    found = {derived_seed(0, stream, part) for stream in ("order", "dropout") for part in range(99)}

    assert len(found) == 198
