import errno
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pipeline
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import ConfigError, StorageError
from sampan.plugins import ArraySpec
from sampan.store.layout import (
    FILES_PER_FOLDER,
    LARGEST_SHARD_BYTES,
    MIB,
    Layout,
    choose,
    pin,
    stored,
)


def rows_of(row_bytes):
    return {"rows": ArraySpec(("x",), (row_bytes,), "uint8")}


def is_power_of_two(value):
    return value > 0 and value & (value - 1) == 0


@settings(max_examples=200, deadline=None)
@given(
    row_bytes=st.integers(1, 400 * MIB),
    parts=st.integers(1, 10_000),
    rows_per_part=st.sampled_from([8, 16, 32, *(64 * n for n in (1, 3, 16, 50, 1000, 100_000))]),
)
def test_sizes_are_those_of_the_design(row_bytes, parts, rows_per_part):
    capacity = parts * rows_per_part

    layout = choose("d", rows_of(row_bytes), rows_per_part, capacity=capacity)

    array = layout.arrays["rows"]
    shard_bytes = array.rows_per_shard * row_bytes
    assert is_power_of_two(array.rows_per_shard) and is_power_of_two(array.rows_per_chunk)
    assert rows_per_part % array.rows_per_shard == 0
    assert array.rows_per_shard % array.rows_per_chunk == 0
    assert array.rows_per_chunk in (1, array.rows_per_shard) or (
        MIB < array.rows_per_chunk * row_bytes <= 2 * MIB
    )
    assert shard_bytes <= max(LARGEST_SHARD_BYTES, row_bytes)
    files = -(-capacity // array.rows_per_shard)
    divides_no_more = 2 * array.rows_per_shard > rows_per_part & -rows_per_part
    assert files <= FILES_PER_FOLDER or divides_no_more or 2 * shard_bytes > LARGEST_SHARD_BYTES


@pytest.mark.parametrize(
    ("row_bytes", "rows_per_part", "shard_mib"),
    [
        (3 * 2**10, 2**12, 0.1875),  # small data: 64 rows
        (3 * 2**10, 2**16, 3),  # 64 shards a partition
        (3 * 2**10, 2**21, 96),  # 64 shards a partition
        (3 * 2**10, 2**23, 192),  # more of them, before they grow above 256 MiB
        (150_528, 2**17, 147),  # 224 x 224 RGB: 2,048 rows would be 294 MiB
    ],
)
def test_there_are_64_shards_a_partition_before_shards_grow(row_bytes, rows_per_part, shard_mib):
    array = choose("d", rows_of(row_bytes), rows_per_part).arrays["rows"]

    shards = rows_per_part // array.rows_per_shard
    size = array.rows_per_shard * row_bytes / MIB
    assert shards >= 64
    assert size == shard_mib


def test_many_rows_make_larger_shards_so_that_a_folder_has_few_files():
    few = choose("d", rows_of(1536), 2**17, capacity=10**8)
    many = choose("d", rows_of(1536), 2**17, capacity=2 * 10**9)

    assert few.rows_per_shard == 2**13
    assert many.rows_per_shard == 2**17
    assert 2 * 10**9 / many.rows_per_shard <= FILES_PER_FOLDER


def test_all_arrays_share_rows_per_shard_and_valid_has_one_shard_a_partition():
    specs = {
        "image": ArraySpec(("y", "x"), (512, 512), "uint8"),
        "length": ArraySpec((), (), "int32"),
    }

    layout = choose("d", specs, 1024)

    assert layout.main == "image"
    assert layout.arrays["image"].rows_per_chunk == 8
    assert layout.arrays["length"].rows_per_chunk == layout.rows_per_shard == 64
    assert layout.arrays["length"].rows_per_shard == 64
    assert layout.arrays["valid"].rows_per_shard == 1024


@pytest.mark.parametrize("rows", [3, 48, 128])
def test_rows_per_shard_that_do_not_divide_a_partition_are_refused(rows):
    with pytest.raises(ConfigError, match=r"power of two that divides rows_per_job: 64; set \d+"):
        choose("d", rows_of(10), 64, rows_per_shard=rows)


def test_rows_per_shard_of_the_config_are_taken():
    assert choose("d", rows_of(10), 64, rows_per_shard=8).rows_per_shard == 8


def test_a_layout_survives_json():
    layout = choose("d", rows_of(10), 64)

    assert Layout.from_json(json.loads(json.dumps(layout.as_json()))) == layout


@pytest.mark.parametrize(
    ("first", "rows", "shards"),
    [(0, 64, [0, 1, 2, 3]), (64, 22, [4, 5]), (86, 0, []), (0, 0, []), (32, 1, [2])],
)
def test_shards_are_those_that_hold_the_rows(first, rows, shards):
    layout = choose("d", rows_of(10), 64, rows_per_shard=16)

    assert list(layout.shards(first, rows)) == shards


@pytest.mark.parametrize(
    ("dtype", "fill", "codec"),
    [
        ("float16", "NaN", {"name": "bytes", "configuration": {"endian": "little"}}),
        ("bool", False, {"name": "bytes"}),
        ("uint8", 0, {"name": "bytes"}),
    ],
)
def test_metadata_have_the_fill_value_and_the_codecs_of_the_dtype(dtype, fill, codec):
    found = choose("d", {"a": ArraySpec((), (), dtype)}, 64).arrays["a"].metadata(100)

    sharding = found["codecs"][0]["configuration"]
    assert found["fill_value"] == fill and type(found["fill_value"]) is type(fill)
    assert sharding["codecs"] == [codec]
    assert found["shape"] == [100]
    assert found["dimension_names"] == ["sample"]


# Pinning ------------------------------------------------------------------------------------------

PIN = """
import sys, time
from pathlib import Path
from sampan.plugins import ArraySpec
from sampan.store.layout import choose, pin
folder, number = Path(sys.argv[1]), int(sys.argv[2])
wanted = choose("d", {"rows": ArraySpec(("x",), (10,), "uint8")}, 1024, rows_per_shard=2**number)
print("ready", flush=True)
while not (folder / "go").exists():
    time.sleep(0.001)
print(pin(folder / "layout.json", wanted).rows_per_shard)
"""


def test_of_many_processes_that_pin_at_once_the_first_wins_and_all_agree(tmp_path):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PIN, str(tmp_path), str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env=pipeline.environment_of(),
        )
        for number in range(6)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    answers = {int(child.communicate()[0]) for child in children}

    assert len(answers) == 1
    assert json.loads((tmp_path / "layout.json").read_text())["rows_per_shard"] in answers
    assert sorted(path.name for path in tmp_path.iterdir()) == ["go", "layout.json"]


def test_what_was_pinned_stays_though_another_layout_is_wanted(tmp_path):
    first = pin(tmp_path / "layout.json", choose("d", rows_of(10), 64, rows_per_shard=8))

    assert pin(tmp_path / "layout.json", choose("d", rows_of(10), 64, rows_per_shard=16)) == first


def test_a_folder_of_other_settings_is_refused(tmp_path):
    pin(tmp_path / "layout.json", choose("d", rows_of(10), 64))

    with pytest.raises(StorageError, match="made with the settings d, not e"):
        pin(tmp_path / "layout.json", choose("e", rows_of(10), 64))


def test_more_rows_a_job_are_accepted_where_they_are_a_multiple(tmp_path):
    first = pin(tmp_path / "layout.json", choose("d", rows_of(10), 64))

    assert pin(tmp_path / "layout.json", choose("d", rows_of(10), 192)) == first


@pytest.mark.parametrize("rows", [32, 96])
def test_other_rows_a_job_are_refused(rows, tmp_path):
    pin(tmp_path / "layout.json", choose("d", rows_of(10), 64))

    with pytest.raises(ConfigError, match=r"parts of 64 rows; rows_per_job: .* no multiple"):
        pin(tmp_path / "layout.json", choose("d", rows_of(10), rows))


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StorageError):
        pin(tmp_path / "file" / "layout.json", choose("d", rows_of(10), 64))


def test_row_bytes_count_all_elements():
    spec = ArraySpec(("y", "x"), (3, 5), "float32")

    assert choose("d", {"a": spec}, 64).arrays["a"].row_bytes == np.zeros((3, 5), "f4").nbytes


# Where there are no hard links --------------------------------------------------------------------


@pytest.fixture
def no_links(monkeypatch):
    def link(*words, **flags):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("sampan.store.layout.os.link", link)


def test_a_layout_is_pinned_where_there_are_no_hard_links(tmp_path, no_links):
    first, second = (choose("d", rows_of(8), 64, rows_per_shard=rows) for rows in (16, 32))

    assert pin(tmp_path / "layout.json", first) == first
    assert pin(tmp_path / "layout.json", second) == first
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["layout.json"]


def test_of_many_at_once_without_hard_links_one_is_pinned(tmp_path, no_links):
    wanted = [choose("d", rows_of(8), 64, rows_per_shard=2**n) for n in range(6)]

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda layout: pin(tmp_path / "layout.json", layout), wanted))

    assert len({layout.rows_per_shard for layout in found}) == 1


# Damage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda value: value.update(arrays=[]), "there is no array valid"),
        (lambda value: value["arrays"][0].update(name="../up"), "its name"),
        (lambda value: value["arrays"][0].update(dims=[]), "its dimensions"),
        (lambda value: value["arrays"][0].update(dtype="object"), "dtype object"),
        (lambda value: value["arrays"][0].update(rows_per_chunk=0), "rows of its chunks"),
        (lambda value: value["arrays"][0].update(rows_per_shard=32), "rows of its chunks"),
        (lambda value: value.update(rows_per_shard=0), "rows of its chunks"),
        (lambda value: value.pop("settings"), "settings: is missing"),
    ],
)
def test_a_layout_that_is_none_is_refused_by_name(change, fault, tmp_path):
    path = tmp_path / "layout.json"
    pin(path, choose("d", rows_of(8), 64, rows_per_shard=16))
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))

    with pytest.raises(StorageError, match=rf"layout\.json: is damaged: .*{fault}"):
        Layout.read(path)


def test_the_layout_of_arrays_can_be_told_from_their_metadata(tmp_path):
    specs = rows_of(8) | {"length": ArraySpec((), (), "int32")}
    layout = choose("d", specs, 64, rows_per_shard=16)
    for name in layout.arrays:
        (tmp_path / name).mkdir()
        (tmp_path / name / "zarr.json").write_text(json.dumps(layout.metadata(name, 40)))

    assert stored(tmp_path, "rows", "d") == layout
    (tmp_path / "length/zarr.json").write_text("[]")
    assert stored(tmp_path, "rows", "d") is None
