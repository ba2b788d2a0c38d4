import time
from collections import Counter
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.config.split import SplitSettings
from sampan.errors import DataError
from sampan.index.splits import check_split, fraction, split_of


def names(values):
    out = np.empty(len(values), object)
    out[:] = values
    return out


def split(settings, *groups, given=None):
    return split_of(settings, names(groups), given).tolist()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.text(max_size=8), min_size=1, max_size=30),
    st.lists(st.text(max_size=8), max_size=30),
    st.integers(0, 2**63),
)
def test_a_split_is_a_pure_function_of_group_seed_and_settings_so_new_samples_move_none(
    old, new, seed
):
    shares = SplitSettings(validation=0.3, test=0.3, seed=seed)

    before = split(shares, *old)
    after = split(shares, *new, *old)

    assert after[len(new) :] == before
    of_group = {}
    for group, found in zip([*new, *old], after, strict=True):
        assert of_group.setdefault(group, found) == found, "a group straddles splits"


def test_fractions_are_those_of_the_groups():
    groups = [f"g{i}" for i in range(20_000)]

    found = split(SplitSettings(validation=0.1, test=0.2), *groups)

    shares = {name: found.count(name) / len(found) for name in ("train", "validation", "test")}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.01)


def test_the_place_of_a_group_is_the_same_on_every_machine():
    from pandas.util import hash_array

    at = fraction(names(["jackson", "theo"]), seed=3)

    siphash = hash_array(names(["jackson", "theo"]), hash_key=f"{3:016x}", categorize=False)
    np.testing.assert_allclose(at, siphash / 2**64, rtol=1e-15)
    assert np.all((at >= 0) & (at < 1))


def test_another_seed_gives_another_division():
    groups = [f"g{i}" for i in range(200)]

    assert split(SplitSettings(seed=0), *groups) != split(SplitSettings(seed=1), *groups)


def test_shares_that_do_not_add_up_to_one_leave_samples_out():
    groups = [f"g{i}" for i in range(5000)]

    found = split(SplitSettings(train=0.5, validation=0.1, test=0.1), *groups)

    assert found.count(None) / len(found) == pytest.approx(0.3, abs=0.02)


def test_listed_groups_are_taken_first_and_fractions_divide_the_rest():
    groups = ["jackson", "theo", *(f"g{i}" for i in range(1000))]
    shares = SplitSettings(test=("jackson",), validation=0.5)

    found = split(shares, *groups)

    assert found[0] == "test"
    assert found.count("test") == 1
    assert found.count("validation") / 1001 == pytest.approx(0.5, abs=0.05)


def test_listed_groups_are_found_in_the_form_of_labels_whatever_form_they_are_listed_in():
    shares = SplitSettings(test=(normalize("NFD", "Zoë"), " ben "), validation=0.0)

    assert split(shares, normalize("NFC", "Zoë"), "ben", "ada") == ["test", "test", "train"]


def test_a_key_that_stands_for_a_group_is_found_whatever_its_form():
    shares = SplitSettings(test=("é",), validation=0.0)

    assert split(shares, normalize("NFD", "é"), " é") == ["test", "test"]


def test_listing_many_groups_costs_no_more_for_each_than_listing_few():
    def seconds(number):
        groups = [f"group {i}" for i in range(number)]
        start = time.process_time()
        shares = SplitSettings(test=tuple(groups), validation=0.0)
        for first in range(0, number, number // 10):
            split(shares, *groups[first : first + number // 10])
        return time.process_time() - start

    few, many = min(seconds(2_000) for _ in range(3)), min(seconds(40_000) for _ in range(2))

    assert many < 20 * 6 * few, "20 times as many groups"


def test_every_split_may_be_a_list():
    shares = SplitSettings(train=("a",), validation=("b",), test=("c",))

    assert split(shares, "a", "b", "c", "d") == ["train", "validation", "test", None]


def test_a_column_of_the_source_gives_the_split():
    given_splits = names(["test", None, "train"])

    found = split(SplitSettings(column="part"), "a", "a", "a", given=given_splits)

    assert found == ["test", None, "train"]


def test_names_that_are_no_splits_are_listed():
    with pytest.raises(DataError, match="part: dev, eval; allowed: train, validation, test"):
        split(SplitSettings(column="part"), "a", "b", given=names(["eval", "dev"]))


def test_a_split_column_that_the_index_lacks_is_an_error():
    with pytest.raises(DataError, match="the index holds no column 'part'"):
        split(SplitSettings(column="part"), "a")


def test_no_samples_are_split_into_nothing():
    assert split(SplitSettings()) == []


def test_an_empty_split_is_an_error_that_gives_the_groups_counts():
    groups = names(["anna"] * 1200 + ["ben"] * 3)
    found = split_of(SplitSettings(test=0.0, validation=("ben",)), groups)

    with pytest.raises(DataError) as fault:
        check_split("digits", set(found), lambda: Counter(groups))

    assert fault.value.faults == (
        "digits: no sample falls in test; 2 groups: anna 1,200, ben 3; "
        "change the fractions, or list groups",
    )


def test_only_the_splits_that_are_needed_have_to_hold_samples():
    check_split("digits", ["train", "test"], Counter, ["test"])


def test_groups_of_a_message_are_cut():
    with pytest.raises(DataError) as fault:
        check_split("d", [], lambda: Counter(["x" * 10_000, "y"]), ["test"])

    assert len(fault.value.faults[0]) < 300
