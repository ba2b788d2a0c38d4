"""Numbers and names as people read them."""

import math

import pytest

from sampan.reporting.data import ShownMetric
from sampan.reporting.wording import (
    count,
    direction_of,
    headline,
    in_order,
    interval,
    is_share,
    listed,
    metric_name,
    metric_value,
    percent,
    shorten,
    significant,
    times_chance,
    visible,
)


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.9784, "97.8 %"),
        (0.99999, "> 99.9 %"),
        (0.00001, "< 0.1 %"),
        (math.nan, "–"),
    ],
)
def test_a_share_is_only_all_or_nothing_when_it_is(share: float, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (0.0959, "0.0959"),
        (4.405, "4.41"),
        (12_345, "12,300"),
        (3e-7, "3.00e-07"),
        (math.inf, "–"),
    ],
)
def test_numbers_have_three_significant_digits(number: float, shown: str) -> None:
    assert significant(number) == shown


def test_nouns_follow_their_number() -> None:
    assert [count(1, "row"), count(1797, "row"), count(0, "modality", "modalities")] == [
        "1 row",
        "1,797 rows",
        "0 modalities",
    ]
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"]), listed([])] == [
        "a",
        "a and b",
        "a, b and c",
        "",
    ]


def test_a_metric_is_split_into_its_direction_and_a_readable_name() -> None:
    assert direction_of("image→caption/recall_at_10") == "image → caption"
    assert metric_name("image→caption/recall_at_10") == "recall@10"
    assert direction_of("accuracy") == ""


def test_shares_errors_and_ranks_each_have_their_own_form() -> None:
    share = ShownMetric(name="accuracy", value=0.978, low=0.955, high=0.994, chance=0.1)
    error = ShownMetric(name="mae", value=4.41, low=3.98, high=4.87, unit="px")
    rank = ShownMetric(name="a→b/median_rank", value=2.0, low=1.5, high=3.0, chance=30.5)

    assert (metric_value(share, share.value), interval(share)) == ("97.8 %", "95.5 to 99.4 %")
    assert (metric_value(error, error.value), interval(error)) == ("4.41 px", "3.98 to 4.87 px")
    assert (metric_value(rank, rank.value), interval(rank)) == ("2", "1.5 to 3")
    assert (times_chance(share), times_chance(rank)) == ("9.78 ×", "–")


def test_the_headline_is_one_metric_or_one_for_each_direction() -> None:
    names = ("a→b/recall_at_1", "a→b/recall_at_10", "b→a/recall_at_10", "b→a/median_rank")
    metrics = [ShownMetric(name=name, value=0, low=0, high=0) for name in names]

    assert [metric.name for metric in headline(metrics)] == ["a→b/recall_at_10", "b→a/recall_at_10"]


def test_a_long_text_is_cut_and_its_length_told() -> None:
    assert shorten("a" * 5, 5) == "aaaaa"
    assert shorten("a" * 1200, 3) == "aaa… (1,200 characters)"


def test_joiners_and_line_ends_stay_while_overrides_are_written_out() -> None:
    assert visible("👩🏽‍🏫\n\té") == "👩🏽‍🏫\n\té"
    assert visible("a\u202eb\x07") == "a\\u202eb\\u0007"


def test_labels_that_are_numbers_come_by_value_and_before_words() -> None:
    assert in_order(["ten", "10", "9", "-1.5", "nan", "Ada"]) == [
        "-1.5", "9", "10", "Ada", "nan", "ten",
    ]  # fmt: skip


def test_recall_within_a_batch_is_a_share_with_a_name_of_its_own() -> None:
    assert metric_name("batch_recall_at_1") == "batch recall@1"
    assert is_share("batch_recall_at_1")


def test_a_recall_that_chance_alone_reaches_is_no_headline() -> None:
    metrics = [
        ShownMetric(name=f"image→word/recall_at_{k}", value=1, low=1, high=1, chance=min(k / 10, 1))
        for k in (1, 5, 10)
    ]

    assert [metric.name for metric in headline(metrics)] == ["image→word/recall_at_1"]
