from collections import Counter

import numpy as np
import pipeline
import pytest

from sampan.config.split import SplitSettings
from sampan.index import columns
from sampan.index.parts import Index, IndexFolder
from sampan.index.splits import split_of


@pytest.fixture
def index(tmp_path):
    config = pipeline.finished_texts(tmp_path)
    return Index(IndexFolder(pipeline.results_of(config) / "texts" / "index"))


@pytest.fixture
def groups():
    return np.array([f"p{i % 15}" for i in range(150)], object)


def test_a_coded_column_says_what_stands_in_each_row(index):
    codes, names = columns.coded(index, "label")

    assert names == pipeline.WORDS
    assert codes.dtype == np.int8
    assert codes.tolist() == [i % 10 for i in range(150)]
    assert columns.texts(codes, names).to_pylist() == [pipeline.WORDS[i % 10] for i in range(150)]


def test_a_column_that_there_is_none_of_says_nothing(index):
    codes, names = columns.coded(index, "split")

    assert (set(codes), names) == ({-1}, ())
    assert columns.texts(codes, names).to_pylist() == [None] * 150
    assert not columns.present(index, "split").any()
    assert columns.present(index, "label").all()


def test_any_rows_are_read_across_partitions(index):
    found = list(columns.column(index, "key", range(60, 130)))

    assert [first for first, _ in found] == [60, 64, 128]
    assert [key for _, some in found for key in some] == [f"s{i:04d}" for i in range(60, 130)]
    assert list(columns.column(index, "key", range(7, 7))) == []


def test_what_must_not_straddle_splits_is_the_group_or_else_the_key(index, groups, monkeypatch):
    assert [group for _, some in columns.groups(index) for group in some] == groups.tolist()
    assert columns.count_groups(index) == Counter(groups)

    monkeypatch.setattr("sampan.index.parts.IndexPart.columns", ["key"])
    assert next(columns.groups(index))[1][0] == "s0000"


def test_splits_are_those_of_their_groups_in_a_byte_a_row(index, groups):
    settings = SplitSettings(test=("p3",), validation=0.3)

    codes = columns.split_codes(index, settings)

    names = np.array(["train", "validation", "test"], object)
    assert names[codes].tolist() == split_of(settings, groups).tolist()
    assert codes.dtype == np.int8


def test_no_more_groups_are_counted_than_an_error_needs(index, monkeypatch):
    monkeypatch.setattr(columns, "MOST_COUNTED", 5)

    assert 5 < len(columns.count_groups(index)) <= 15
