import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from sampan.training import sampling
from sampan.training.sampling import (
    STRETCHES,
    Windows,
    batch,
    batch_sizes,
    batches,
    derived_seed,
    num_batches,
    shuffled,
    windows,
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


# Windows ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(
    size=st.integers(1, 3000),
    window=st.integers(1, 4000),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 10**6),
)
def test_windows_visit_every_position_exactly_once_too(size, window, seed, epoch):
    found = shuffled(np.arange(size), size=size, seed=seed, epoch=epoch, window=window)

    assert np.sort(found).tolist() == list(range(size))


@settings(deadline=None, max_examples=40)
@given(size=st.integers(200, 3000), window=st.integers(64, 500), epoch=st.integers(0, 9))
def test_the_rows_of_a_window_are_those_of_its_stretches(size, window, epoch):
    assume(window < size)
    order = shuffled(np.arange(size), size=size, seed=5, epoch=epoch, window=window)
    found = Windows(size=size, seed=5, epoch=epoch, rows=window)

    at = 0
    for number in found.of(range(size)):
        stretches = list(found.stretches(number))
        rows = sorted(row for stretch in stretches for row in stretch)
        assert sorted(order[at : at + len(rows)]) == rows
        assert len(stretches) <= STRETCHES + 3  # more where one begins again at 0
        at += len(rows)
    assert at == size


def test_any_counters_have_the_positions_that_they_have_among_all():
    how = {"size": 1000, "seed": 3, "epoch": 4, "window": 128}
    order = shuffled(np.arange(1000), **how)

    some = np.array([999, 0, 500, 130, 127, 3])

    assert shuffled(some, **how).tolist() == order[some].tolist()


def test_epochs_and_seeds_are_shuffled_each_in_its_own_way():
    orders = {
        tuple(shuffled(np.arange(640), size=640, seed=seed, epoch=epoch, window=64))
        for seed in range(3)
        for epoch in range(3)
    }

    assert len(orders) == 9


def test_a_window_that_holds_all_rows_is_the_full_shuffle():
    full = shuffled(np.arange(100), size=100, seed=1, epoch=2)

    for window in (0, 100, 1000):
        found = shuffled(np.arange(100), size=100, seed=1, epoch=2, window=window)
        assert found.tolist() == full.tolist()


def test_the_rows_of_a_window_come_from_all_over_the_epoch():
    size, window = 1 << 16, 1 << 12
    order = shuffled(np.arange(size), size=size, seed=0, epoch=0, window=window)

    places = order[:window] * 16 // size

    assert chisquare(np.bincount(places // 1, minlength=16) / 64).pvalue > 1e-4


def test_batches_of_windows_are_the_same_at_any_number_of_ranks_and_from_any_step():
    rows = np.arange(1000) * 3
    how = {"batch_size": 32, "seed": 7, "window": 128}
    whole = [found.tolist() for found in batches(rows, range(70), **how)]

    assert [found.tolist() for found in batches(rows, range(45, 70), **how)] == whole[45:]
    shares = [list(batches(rows, range(70), **how, rank=rank, ranks=3)) for rank in range(3)]
    assert [np.concatenate(parts).tolist() for parts in zip(*shares, strict=True)] == whole


def test_each_window_is_named_before_the_first_batch_that_needs_it():
    rows, how = np.arange(1000), {"batch_size": 32, "seed": 7, "window": 128}
    numbers = range(5, 70)
    named = list(windows(1000, numbers, **how))

    for number, found in zip(numbers, batches(rows, numbers, **how), strict=True):
        epoch = number // num_batches(1000, 32)
        known = {
            row
            for first, stretches in named
            if first <= number and first // num_batches(1000, 32) == epoch
            for stretch in stretches
            for row in stretch
        }
        assert set(found.tolist()) <= known
    assert [number for number, _ in named] == sorted(number for number, _ in named)
