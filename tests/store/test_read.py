import mmap
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import StorageError
from sampan.plugins import ArraySpec
from sampan.store import read, window
from sampan.store.layout import ArrayLayout
from sampan.store.read import Reader
from sampan.store.shard import ShardWriter
from sampan.store.window import place_bytes

LAYOUT = ArrayLayout(spec=ArraySpec(("x",), (3,), "int16"), rows_per_chunk=4, rows_per_shard=16)
PAGE = ArraySpec(("x",), (mmap.PAGESIZE // 2,), "int16")
"""Shards of such rows end with a page of memory, and lie without gaps."""
WITHOUT_GAPS = ArrayLayout(spec=PAGE, rows_per_chunk=1, rows_per_shard=2)


def stored(folder, layout, rows):
    row = layout.spec.shape[0]
    values = np.arange(rows * row).astype("int16").reshape(rows, row)
    for shard in range(-(-rows // layout.rows_per_shard)):
        start = shard * layout.rows_per_shard
        with ShardWriter(folder / layout.shard_file(shard), layout) as writer:
            writer.write(values[start : start + layout.rows_per_shard])
            writer.close()
    return values


@st.composite
def arrays_and_rows(draw):
    chunk = 2 ** draw(st.integers(0, 3))
    shard = chunk * 2 ** draw(st.integers(0, 3))
    rows = draw(st.integers(1, 90))
    taken = draw(st.lists(st.integers(0, rows - 1), max_size=40))
    first = draw(st.integers(0, rows))
    stop = draw(st.integers(first, rows))
    spec = draw(st.sampled_from([LAYOUT.spec, PAGE]))
    layout = ArrayLayout(spec=spec, rows_per_chunk=chunk, rows_per_shard=shard)
    return layout, rows, taken, first, stop


@settings(max_examples=60, deadline=None)
@given(arrays_and_rows())
def test_rows_and_take_are_those_of_numpy(drawn):
    layout, rows, taken, first, stop = drawn
    with tempfile.TemporaryDirectory() as name:
        values = stored(Path(name), layout, rows)
        reader = Reader(Path(name), layout)

        np.testing.assert_array_equal(reader.rows(first, stop), values[first:stop])
        np.testing.assert_array_equal(reader.take(np.array(taken, np.int64)), values[taken])


@pytest.mark.parametrize("layout", [LAYOUT, WITHOUT_GAPS])
def test_rows_are_taken_into_memory_that_is_given(layout, tmp_path):
    values = stored(tmp_path, layout, 40)
    taken = np.array([39, 0, 17, 17, 38, 1])
    out = np.zeros((6, *layout.spec.shape), layout.spec.dtype)

    found = Reader(tmp_path, layout).take(taken, out)

    assert found is out
    np.testing.assert_array_equal(out, values[taken])


@pytest.mark.parametrize("layout", [LAYOUT, WITHOUT_GAPS])
def test_rows_read_in_any_order_stay_what_they_were_while_others_are_opened(layout, tmp_path):
    size = layout.rows_per_shard
    values = stored(tmp_path, layout, 20 * size)
    reader = Reader(tmp_path, layout)

    found = {s: reader.rows(s * size, (s + 1) * size) for s in (7, 9, 8, 19, 3, 0, 12, 7)}

    for shard, rows in found.items():
        np.testing.assert_array_equal(rows, values[shard * size : (shard + 1) * size])


def test_rows_of_shards_without_gaps_between_them_are_a_view(tmp_path):
    values = stored(tmp_path, WITHOUT_GAPS, 9)

    found = Reader(tmp_path, WITHOUT_GAPS).rows(1, 9)

    np.testing.assert_array_equal(found, values[1:])
    assert not found.flags.writeable
    assert not found.flags.owndata


@pytest.mark.parametrize("layout", [LAYOUT, WITHOUT_GAPS])
def test_rows_too_far_apart_for_one_window_are_taken_one_by_one(layout, tmp_path, monkeypatch):
    values = stored(tmp_path, layout, 20 * layout.rows_per_shard)
    monkeypatch.setattr(read, "WINDOW_BYTES", 3 * place_bytes(layout))
    taken = np.random.default_rng(0).integers(len(values), size=50)

    found = Reader(tmp_path, layout).take(taken)

    np.testing.assert_array_equal(found, values[taken])


def test_addresses_that_cannot_be_had_are_an_error(tmp_path, monkeypatch):
    stored(tmp_path, WITHOUT_GAPS, 2)
    monkeypatch.setattr(read, "WINDOW_BYTES", 2**60)

    with pytest.raises(StorageError, match="bytes of addresses cannot be had: Cannot allocate"):
        Reader(tmp_path, WITHOUT_GAPS).take(np.array([0, 2**36]))


def test_threads_may_take_rows_at_once(tmp_path):
    values = stored(tmp_path, WITHOUT_GAPS, 120)
    reader = Reader(tmp_path, WITHOUT_GAPS)
    generator = np.random.default_rng(0)
    taken = [generator.integers(end, size=20) for end in range(3, 120)]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(reader.take, taken))

    for rows, batch in zip(taken, found, strict=True):
        np.testing.assert_array_equal(batch, values[rows])


def test_rows_within_one_shard_are_a_view_that_cannot_be_written_to(tmp_path):
    stored(tmp_path, LAYOUT, 16)

    found = Reader(tmp_path, LAYOUT).rows(3, 9)

    assert not found.flags.writeable
    assert not found.flags.owndata


def test_chunks_in_another_order_are_found_through_the_index(tmp_path):
    values = stored(tmp_path, LAYOUT, 16)
    path = tmp_path / LAYOUT.shard_file(0)
    data = path.read_bytes()
    swapped = data[24:48] + data[:24] + data[48:96]
    index = np.frombuffer(data[96:-4], "<u8").reshape(4, 2)[[1, 0, 2, 3]].tobytes()
    crc = google_crc32c.value(index).to_bytes(4, "little")
    path.write_bytes(swapped + index + crc)

    np.testing.assert_array_equal(Reader(tmp_path, LAYOUT).rows(0, 16), values)


def flip(path, byte):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


DAMAGES = {
    "is missing": Path.unlink,
    "cannot be read: Is a directory": lambda path: (path.unlink(), path.mkdir()),
    "has 0 bytes, too few for its index": lambda path: path.write_bytes(b""),
    "has 2 bytes, too few": lambda path: path.write_bytes(b"12"),
    "its index is damaged": truncate,
    r"its index is damaged; run: sampan verify": lambda path: flip(path, -20),
    "index is damaged": lambda path: flip(path, -1),
    r"damaged": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_damaged_shard_is_an_error_and_never_fill_values(message, tmp_path):
    stored(tmp_path, LAYOUT, 48)
    path = tmp_path / LAYOUT.shard_file(1)
    DAMAGES[message](path)
    reader = Reader(tmp_path, LAYOUT)

    with pytest.raises(StorageError, match=message) as fault:
        reader.rows(0, 48)

    assert str(path) in str(fault.value)
    with pytest.raises(StorageError, match=message):
        reader.take(np.array([40, 20]))
    assert reader.rows(0, 16).shape == (16, 3)


def test_fetching_reads_the_chunks_of_the_rows_and_no_others(tmp_path, monkeypatch):
    stored(tmp_path, LAYOUT, 40)
    read_at = []
    preadv = os.preadv
    monkeypatch.setattr(
        os, "preadv", lambda file, into, at: (read_at.append(at), preadv(file, into, at))[1]
    )

    Reader(tmp_path, LAYOUT).fetch(6, 35)

    chunk = 4 * LAYOUT.row_bytes
    assert read_at == [chunk, 2 * chunk, 3 * chunk, *range(0, 4 * chunk, chunk), 0]


def test_fetching_rows_that_are_not_there_is_an_error(tmp_path):
    stored(tmp_path, LAYOUT, 40)

    with pytest.raises(StorageError, match="holds 8 rows; 16 are needed"):
        Reader(tmp_path, LAYOUT).fetch(30, 60)


def test_rows_that_a_shard_does_not_hold_are_an_error(tmp_path):
    stored(tmp_path, LAYOUT, 22)
    reader = Reader(tmp_path, LAYOUT)

    with pytest.raises(StorageError, match="holds 8 rows; 9 are needed"):
        reader.rows(0, 25)
    with pytest.raises(StorageError, match="holds 8 rows; 16 are needed"):
        reader.take(np.array([31]))


def test_an_index_that_points_outside_of_the_file_is_an_error(tmp_path):
    wide = ArrayLayout(spec=LAYOUT.spec, rows_per_chunk=8, rows_per_shard=32)
    stored(tmp_path, LAYOUT, 16)
    shutil.move(tmp_path / LAYOUT.shard_file(0), tmp_path / wide.shard_file(0))

    with pytest.raises(StorageError, match="points outside"):
        Reader(tmp_path, wide).rows(0, 8)


@pytest.fixture
def few_maps(monkeypatch):
    monkeypatch.setattr(window, "MAPS", window.Maps(6))


def maps_of(folder):
    return Path("/proc/self/maps").read_text().count(f"{folder}/")


@pytest.mark.parametrize("layout", [WITHOUT_GAPS, LAYOUT], ids=["without gaps", "with gaps"])
def test_no_more_shards_are_mapped_than_a_process_may_have(tmp_path, few_maps, layout):
    values = stored(tmp_path, layout, 80 * layout.rows_per_shard)
    reader = Reader(tmp_path, layout)
    rows = np.random.default_rng(0).permutation(len(values))

    for some in np.split(rows, 8):
        np.testing.assert_array_equal(reader.take(some), values[some])

        assert 0 < maps_of(tmp_path) <= 6


def test_rows_in_order_are_mapped_in_the_place_of_earlier_ones(tmp_path, few_maps):
    values = stored(tmp_path, WITHOUT_GAPS, 80)
    reader = Reader(tmp_path, WITHOUT_GAPS)

    for row in range(0, 80, 4):
        np.testing.assert_array_equal(reader.rows(row, row + 4), values[row : row + 4])

        assert 0 < maps_of(tmp_path) <= 6


def test_a_view_stays_what_it_was_when_maps_are_given_back(tmp_path, few_maps):
    values = stored(tmp_path, WITHOUT_GAPS, 80)
    reader = Reader(tmp_path, WITHOUT_GAPS)

    views = [reader.rows(row, row + 4) for row in range(0, 80, 4)]

    np.testing.assert_array_equal(np.concatenate(views), values)


def test_readers_share_what_a_process_may_have_and_give_it_back(tmp_path, few_maps):
    values = stored(tmp_path, WITHOUT_GAPS, 80)
    for _ in range(5):
        readers = [Reader(tmp_path, WITHOUT_GAPS) for _ in range(3)]
        for reader in readers:
            np.testing.assert_array_equal(reader.take(np.arange(80)), values)

        assert 0 < maps_of(tmp_path) <= 6


def test_a_damaged_shard_is_an_error_where_it_is_not_mapped_either(tmp_path, few_maps):
    stored(tmp_path, WITHOUT_GAPS, 80)
    path = tmp_path / WITHOUT_GAPS.shard_file(39)
    path.write_bytes(path.read_bytes()[:-1] + b"!")

    with pytest.raises(StorageError, match="its index is damaged"):
        Reader(tmp_path, WITHOUT_GAPS).take(np.arange(80))
