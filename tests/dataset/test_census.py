"""What a pass over an index counts."""

import numpy as np
import pytest

from sampan.config.split import SplitSettings
from sampan.dataset import census
from sampan.dataset.census import NO_LABEL, NO_SPLIT, Census


def batch(
    rows: int,
    *,
    labels: list[str | None] | None = None,
    splits: list[str | None] | None = None,
    reasons: dict[int, str] | None = None,
) -> dict[str, list[str | None]]:
    return {
        "key": [f"key-{row}" for row in range(rows)],
        "reason": [(reasons or {}).get(row) for row in range(rows)],
        "label": labels or [None] * rows,
        "group": [None] * rows,
        "split": splits or [None] * rows,
    }


def given(*, labelled: bool = True, numeric: bool = False) -> Census:
    return Census(split=SplitSettings(column="split"), labelled=labelled, numeric=numeric)


def test_rows_are_counted_by_split_and_by_label() -> None:
    found = given()

    found.count(0, batch(3, labels=["a", "b", "a"], splits=["train", "test", "test"]))
    found.count(3, batch(2, labels=["a", None], splits=["test", None]))

    assert found.splits == {"train": 1, "test": 3, NO_SPLIT: 1}
    assert found.labels == {"a": {"train": 1, "test": 2}, "b": {"test": 1}, NO_LABEL: {NO_SPLIT: 1}}


def test_a_refused_row_counts_for_its_reason_alone() -> None:
    found = given()

    found.count(10, batch(2, labels=["a", "b"], splits=["test"] * 2, reasons={1: "empty key"}))

    assert found.splits == {"test": 1} and list(found.labels) == ["a"]
    assert [(reason.reason, reason.count) for reason in found.reasons] == [("empty key", 1)]
    assert found.reasons[0].examples[0].cell == "row 11"


def test_of_many_refused_rows_a_few_are_named_under_each_reason() -> None:
    found = given()

    found.count(0, batch(9, reasons={row: f"duplicate key: as row {row}" for row in range(9)}))

    (reason,) = found.reasons
    assert (reason.reason, reason.count) == ("duplicate key", 9)
    assert [example.detail for example in reason.examples] == ["as row 0", "as row 1", "as row 2"]


def test_a_numeric_label_is_kept_as_its_value_and_nan_where_there_is_none() -> None:
    found = given(numeric=True)

    found.count(0, batch(3, labels=["1.5", None, "-2e3"]))

    assert found.values is not None
    assert np.array_equal(found.values, [1.5, np.nan, -2000], equal_nan=True)
    assert found.labels == {}


def test_labels_beyond_a_limit_share_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "LABELS_COUNTED", 2)
    found = given()

    found.count(0, batch(4, labels=["a", "b", "c", "d"], splits=["train"] * 4))
    found.count(4, batch(1, labels=["a"], splits=["train"]))

    assert found.labels["a"]["train"] == 2
    assert sum(times.total() for times in found.labels.values()) == 5
    assert len(found.labels) == 3


def test_a_group_is_in_one_split_however_the_index_is_cut() -> None:
    rows, settings = 400, SplitSettings(test=0.3)
    whole = batch(rows)
    pieces = Census(split=settings, labelled=False, numeric=False)
    once = Census(split=settings, labelled=False, numeric=False)

    once.count(0, whole)
    for first in range(0, rows, 64):
        piece = {name: values[first : first + 64] for name, values in whole.items()}
        pieces.count(first, piece)

    assert pieces.splits == once.splits
    assert pieces.examples(10) == once.examples(10)


def test_examples_take_turns_over_splits_and_show_every_label_before_one_comes_again() -> None:
    found = given()
    labels = [str(row // 10) for row in range(60)]
    splits = ["train", "train", "validation", "test", "test"] * 12

    found.count(0, batch(60, labels=list(labels), splits=list(splits)))
    chosen = found.examples(6)

    assert sorted(labels[row] for row in chosen) == ["0", "1", "2", "3", "4", "5"]
    assert sorted(map(str, chosen.values())) == sorted(["train", "validation", "test"] * 2)
    assert all(splits[row] == split for row, split in chosen.items())


def test_there_are_no_more_examples_than_rows() -> None:
    found = given()

    found.count(0, batch(2, splits=["test", "test"]))

    assert found.examples(10) == {0: "test", 1: "test"}


def test_rows_that_are_valid_throughout_are_shown_before_others() -> None:
    found = given()
    found.count(0, batch(40, splits=["train", "test"] * 20))

    chosen = found.examples(4, lambda rows: (rows < 30).astype(np.int64))

    assert chosen == {30: "train", 31: "test", 32: "train", 33: "test"}
