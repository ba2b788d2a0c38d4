import shutil
import tempfile
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import StorageError
from sampan.plugins import ArraySpec
from sampan.store.layout import ArrayLayout
from sampan.store.read import MAPS_KEPT, Reader
from sampan.store.shard import ShardWriter

LAYOUT = ArrayLayout(spec=ArraySpec(("x",), (3,), "int16"), rows_per_chunk=4, rows_per_shard=16)


def stored(folder, layout, rows):
    values = np.arange(rows * 3, dtype="int16").reshape(rows, 3)
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
    return chunk, shard, rows, taken, first, stop


@settings(max_examples=60, deadline=None)
@given(arrays_and_rows())
def test_rows_and_take_are_those_of_numpy(drawn):
    chunk, shard, rows, taken, first, stop = drawn
    layout = ArrayLayout(spec=LAYOUT.spec, rows_per_chunk=chunk, rows_per_shard=shard)
    with tempfile.TemporaryDirectory() as name:
        values = stored(Path(name), layout, rows)
        reader = Reader(Path(name), layout)

        np.testing.assert_array_equal(reader.rows(first, stop), values[first:stop])
        np.testing.assert_array_equal(reader.take(np.array(taken, np.int64)), values[taken])


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
    "cannot be read": lambda path: path.write_bytes(b""),
    "too few for its index": lambda path: path.write_bytes(b"12"),
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


def test_no_more_maps_are_kept_than_a_process_may_have(tmp_path):
    layout = ArrayLayout(spec=LAYOUT.spec, rows_per_chunk=1, rows_per_shard=1)
    values = stored(tmp_path, layout, MAPS_KEPT + 10)
    reader = Reader(tmp_path, layout)

    np.testing.assert_array_equal(reader.rows(0, len(values)), values)
    np.testing.assert_array_equal(reader.rows(0, 1), values[:1])
    assert len(reader._shards) == MAPS_KEPT
