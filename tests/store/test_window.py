import mmap
import os

import numpy as np
import psutil
import pytest

from sampan.plugins import ArraySpec
from sampan.store.layout import ArrayLayout
from sampan.store.window import Window, place_bytes

PAGES = ArrayLayout(
    spec=ArraySpec(("x",), (mmap.PAGESIZE,), "uint8"), rows_per_chunk=2, rows_per_shard=2
)
SMALL = ArrayLayout(spec=ArraySpec(("x",), (3,), "uint8"), rows_per_chunk=2, rows_per_shard=2)


def test_a_shard_takes_whole_pages():
    assert place_bytes(PAGES) == 2 * mmap.PAGESIZE
    assert place_bytes(SMALL) == mmap.PAGESIZE


def test_shards_are_rows_of_one_array_where_they_end_with_a_page(tmp_path):
    window = Window(PAGES, range(4, 7))
    (tmp_path / "five").write_bytes(b"5" * 2 * mmap.PAGESIZE)
    with (tmp_path / "five").open("rb") as file:
        window.map(5, file.fileno(), 2)
    window.copy(6, b"6" * mmap.PAGESIZE)

    assert window.stored.tolist() == [0, 2, 1]
    assert bytes(window.rows[2:5, 0]) == b"556"


def test_small_shards_have_no_rows_in_one_array():
    window = Window(SMALL, range(2))
    window.copy(1, b"abcdef")

    assert window.rows is None
    assert window.shards[1].tobytes() == b"abcdef"


def test_an_array_of_ten_terabytes_takes_no_memory():
    layout = ArrayLayout(spec=PAGES.spec, rows_per_chunk=2**15, rows_per_shard=2**15)

    window = Window(layout, range(10**13 // place_bytes(layout)))

    assert window.shards.nbytes > 9.9e12


def test_a_shard_that_cannot_be_mapped_is_an_error_and_leaves_no_hole(tmp_path):
    window = Window(PAGES, range(3))
    writing = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)

    with pytest.raises(PermissionError):
        window.map(1, writing, 2)

    os.close(writing)
    assert window.stored.tolist() == [0, 0, 0]
    assert not np.any(window.rows)


def test_rows_live_longer_than_their_window():
    window = Window(PAGES, range(2))
    window.copy(1, b"x" * mmap.PAGESIZE)
    row = window.rows[2]

    del window

    assert row.tobytes() == b"x" * mmap.PAGESIZE


def test_rows_that_are_let_go_take_no_memory_and_can_be_read_again(tmp_path):
    rows = 2**12
    layout = ArrayLayout(spec=PAGES.spec, rows_per_chunk=rows, rows_per_shard=rows)
    (tmp_path / "file").write_bytes(b"7" * rows * mmap.PAGESIZE)
    window = Window(layout, range(3, 5))
    with (tmp_path / "file").open("rb") as file:
        window.map(3, file.fileno(), rows)
    assert window.shards[0].min() == ord("7")
    before = psutil.Process().memory_info().shared

    window.let_go(range(3 * rows, 4 * rows))

    assert before - psutil.Process().memory_info().shared > 0.9 * rows * mmap.PAGESIZE
    assert window.shards[0].min() == ord("7")


def test_rows_that_were_copied_are_not_lost_when_they_are_let_go():
    window = Window(PAGES, range(2))
    window.copy(1, b"8" * 2 * mmap.PAGESIZE)

    window.let_go(range(0, 4))

    assert window.shards[1].min() == ord("8")


def test_rows_that_share_a_page_with_others_are_let_go_with_the_last_of_them(tmp_path):
    (tmp_path / "file").write_bytes(b"abcdef")
    window = Window(SMALL, range(1))
    with (tmp_path / "file").open("rb") as file:
        window.map(0, file.fileno(), 2)

    window.let_go(range(0, 1))

    assert window.shards[0].tobytes() == b"abcdef"
