import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import google_crc32c
import numpy as np
import pipeline
import pytest
import tensorstore
import xarray as xr
import zarr

from sampan.errors import StorageError
from sampan.plugins import ArraySpec
from sampan.storage.durable import write_json
from sampan.store.layout import GROUP_METADATA, ArrayLayout
from sampan.store.read import Reader
from sampan.store.shard import ShardWriter, crc32c_of

ROWS = 150
SPECS = {
    "uint8": ArraySpec(("y", "x", "channel"), (4, 5, 3), "uint8"),
    "int16": ArraySpec(("time",), (7,), "int16"),
    "int32": ArraySpec((), (), "int32"),
    "float16": ArraySpec(("embedding",), (5,), "float16"),
    "float32": ArraySpec(("latitude", "longitude"), (2, 3), "float32"),
    "float64": ArraySpec((), (), "float64"),
    "bool": ArraySpec((), (), "bool"),
}
LAYOUTS = {
    name: ArrayLayout(spec=spec, rows_per_chunk=16, rows_per_shard=64)
    for name, spec in SPECS.items()
}


def random_rows(spec, rows=ROWS):
    rng = np.random.default_rng(7)
    if np.dtype(spec.dtype).kind == "f":
        values = rng.standard_normal((rows, *spec.shape)).astype(spec.dtype)
        values[rows // 2] = np.nan
        return values
    return rng.integers(0, 2 if spec.dtype == "bool" else 100, (rows, *spec.shape)).astype(
        spec.dtype
    )


def write(folder, layout, values, step=7):
    folder.mkdir(exist_ok=True)
    for shard in range(-(-len(values) // layout.rows_per_shard)):
        rows = values[shard * layout.rows_per_shard : (shard + 1) * layout.rows_per_shard]
        with ShardWriter(folder / layout.shard_file(shard), layout) as writer:
            for start in range(0, len(rows), step):
                writer.write(rows[start : start + step])
            writer.close()
    write_json(folder / "zarr.json", layout.metadata(len(values)))


@pytest.fixture(scope="module")
def store():
    with tempfile.TemporaryDirectory() as name:
        for kind, layout in LAYOUTS.items():
            write(Path(name) / kind, layout, random_rows(layout.spec))
        write_json(Path(name) / "zarr.json", GROUP_METADATA)
        yield Path(name)


def through_zarr_python(store, kind):
    return zarr.open_array(store / kind, mode="r")[:]


def through_zarrs(store, kind):
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return zarr.open_array(store / kind, mode="r")[:]


def through_tensorstore(store, kind):
    place = {"driver": "file", "path": str(store / kind)}
    return tensorstore.open({"driver": "zarr3", "kvstore": place}).result().read().result()


def through_xarray(store, kind):
    return xr.open_zarr(store, consolidated=False, chunks=None)[kind].values


def through_our_reader(store, kind):
    return Reader(store / kind, LAYOUTS[kind]).rows(0, ROWS)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize(
    "through",
    [
        through_zarr_python,
        through_zarrs,
        through_tensorstore,
        through_xarray,
        through_our_reader,
    ],
)
def test_shards_read_back_equal_through(through, kind, store):
    found = np.asarray(through(store, kind))

    assert found.dtype == SPECS[kind].dtype
    assert found.tobytes() == random_rows(SPECS[kind]).tobytes()


def test_dimensions_are_named_sample_first(store):
    found = xr.open_zarr(store, consolidated=False, chunks=None)

    assert found["uint8"].dims == ("sample", "y", "x", "channel")
    assert found["bool"].dims == ("sample",)


def test_the_bytes_of_a_shard_do_not_depend_on_how_its_rows_arrive(tmp_path):
    layout = LAYOUTS["uint8"]
    values = random_rows(layout.spec)
    write(tmp_path / "a", layout, values, step=1)
    write(tmp_path / "b", layout, values, step=150)

    assert pipeline.bytes_of(tmp_path / "a") == pipeline.bytes_of(tmp_path / "b")


def test_what_is_written_says_its_size_and_the_crc_of_all_its_bytes(tmp_path):
    layout = LAYOUTS["float32"]
    with ShardWriter(tmp_path / "c", layout) as writer:
        writer.write(random_rows(layout.spec, 20))
        written = writer.close()

    data = (tmp_path / "c").read_bytes()
    assert written.bytes == len(data) == 2 * 16 * 24 + 4 * 16 + 4
    assert written.crc32c == f"{google_crc32c.value(data):08x}" == crc32c_of(tmp_path / "c")


def test_chunks_beyond_the_rows_are_missing_and_the_last_one_is_padded_with_the_fill(tmp_path):
    layout = LAYOUTS["float32"]
    with ShardWriter(tmp_path / "c", layout) as writer:
        writer.write(random_rows(layout.spec, 20))
        writer.close()

    data = (tmp_path / "c").read_bytes()
    index = np.frombuffer(data[-68:-4], "<u8").reshape(4, 2)
    assert index.tolist() == [[0, 384], [384, 384], [2**64 - 1] * 2, [2**64 - 1] * 2]
    assert np.isnan(np.frombuffer(data[:768], "<f4").reshape(32, 2, 3)[20:]).all()


def test_more_rows_than_a_shard_holds_are_refused(tmp_path):
    layout = LAYOUTS["int32"]

    with pytest.raises(AssertionError), ShardWriter(tmp_path / "c", layout) as writer:
        writer.write(np.zeros(65, "int32"))
        writer.write(np.zeros(64, "int32"))


@pytest.mark.parametrize("wrong", [np.zeros((3, 7), "int32"), np.zeros((3, 8), "int16")])
def test_rows_of_another_dtype_or_shape_are_refused(wrong, tmp_path):
    with (
        pytest.raises(AssertionError),
        ShardWriter(tmp_path / "c", LAYOUTS["int16"]) as writer,
    ):
        writer.write(wrong)


def test_a_fault_while_writing_leaves_no_temporary_file(tmp_path):
    with pytest.raises(ZeroDivisionError), ShardWriter(tmp_path / "c", LAYOUTS["int32"]) as writer:
        writer.write(np.zeros(3, "int32"))
        raise ZeroDivisionError

    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path):
    (tmp_path / "c").symlink_to("/dev/full")

    with (
        pytest.raises(StorageError, match="No space left"),
        ShardWriter(tmp_path / "c", LAYOUTS["int32"]) as writer,
    ):
        writer.write(np.zeros(64, "int32"))

    assert list(tmp_path.iterdir()) == []


def test_an_outbox_that_is_gone_is_a_storage_error_and_is_not_made_again(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        ShardWriter(tmp_path / "gone" / "c", LAYOUTS["int32"])

    assert list(tmp_path.iterdir()) == []


HALF = """
import sys, time
from pathlib import Path
import numpy as np
from sampan.plugins import ArraySpec
from sampan.store.layout import ArrayLayout
from sampan.store.shard import ShardWriter
layout = ArrayLayout(spec=ArraySpec((), (), "int32"), rows_per_chunk=16, rows_per_shard=64)
with ShardWriter(Path(sys.argv[1]), layout) as writer:
    writer.write(np.zeros(40, "int32"))
    print("half", flush=True)
    time.sleep(60)
"""


def test_a_writer_that_is_killed_leaves_a_file_that_no_reader_takes_for_a_shard(tmp_path):
    path = tmp_path / LAYOUTS["int32"].shard_file(0)
    child = subprocess.Popen(
        [sys.executable, "-c", HALF, str(path)],
        stdout=subprocess.PIPE,
        env=pipeline.environment_of(),
    )
    with child:
        assert child.stdout.readline() == b"half\n"
        os.kill(child.pid, signal.SIGKILL)

    assert path.stat().st_size == 128
    with pytest.raises(StorageError):
        Reader(tmp_path, LAYOUTS["int32"]).rows(0, 32)
