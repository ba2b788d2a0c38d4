from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.index import duplicate_keys
from sampan.index.duplicate_keys import duplicates
from sampan.index.row_hashes import HashWriter, RowHashes
from sampan.plugins import Cells


def hashes_of(folder: Path, *files: list[str]) -> RowHashes:
    found = []
    for number, keys in enumerate(files):
        path = folder / f"{number}"
        with HashWriter(path) as writer:
            writer.write(Cells(keys, {}, [None] * len(keys), [0] * len(keys)))
        found.append((path, len(keys)))
    return RowHashes(found)


def expected(keys: list[str], without: set[int]) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    found = []
    for row, key in enumerate(keys):
        if row not in without and first.setdefault(key, row) != row:
            found.append((row, first[key]))
    return found


@pytest.mark.parametrize("block", [1, 3, 100])
@settings(max_examples=30, deadline=None)
@given(
    files=st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6), min_size=1, max_size=4),
    without=st.sets(st.integers(0, 23), max_size=3),
)
def test_keys_that_repeat_are_those_that_a_dictionary_finds(
    tmp_path_factory, block, files, without
):
    folder = tmp_path_factory.mktemp("duplicates")
    hashes = hashes_of(folder, *files)

    rows, firsts = duplicates(hashes, np.array(sorted(without), np.int64), folder, block)

    keys = [key for file in files for key in file]
    assert list(zip(rows.tolist(), firsts.tolist(), strict=True)) == expected(keys, without)


def test_more_rows_than_files_may_be_open_for_are_divided_again(tmp_path, monkeypatch):
    monkeypatch.setattr(duplicate_keys, "MOST_FILES", 2)
    random = Random(0)
    keys = [f"{random.randrange(400)}" for _ in range(600)] + ["alike"] * 50
    hashes = hashes_of(tmp_path, keys)

    rows, firsts = duplicates(hashes, np.array([7]), tmp_path, block=5)

    assert list(zip(rows.tolist(), firsts.tolist(), strict=True)) == expected(keys, {7})
    digits = {path.name.split("-")[1] for path in tmp_path.glob("bucket-*")}
    assert len(digits) > 4
