import json

import numpy as np
import pytest
import xarray as xr
import zarr
from store import partitions

from sampan.errors import StorageError
from sampan.storage.durable import read_json, write_json
from sampan.store import ledger
from sampan.store.committed import Committed
from sampan.store.variant import Variant

ROWS = 76
"""Two whole partitions, and one of 12 rows whose last shard holds 4."""


@pytest.fixture
def receipts(tmp_path):
    return partitions.make_all(tmp_path, ROWS)


def test_what_is_committed_reads_back_equal(tmp_path, receipts):
    about = partitions.commit(tmp_path, receipts)

    stage = Committed(Variant(tmp_path))
    wanted = partitions.values(range(ROWS))
    assert (about["rows"], about["valid"]) == (76, 68) == (stage.rows, stage.about["valid"])
    assert about["reasons"] == {"odd": 8}
    assert about["notes"] == {"cut": 10}
    np.testing.assert_array_equal(stage.reader().rows(0, ROWS), wanted["image"])
    np.testing.assert_array_equal(stage.reader("length").rows(0, ROWS), wanted["length"])
    np.testing.assert_array_equal(stage.valid(), np.arange(ROWS) % 10 != 0)


def test_bytes_are_those_of_all_shards(tmp_path, receipts):
    about = partitions.commit(tmp_path, receipts)

    shards = [path for path in (tmp_path / "data.zarr").glob("*/c.*")]
    assert about["bytes"] == sum(path.stat().st_size for path in shards)


def test_other_readers_open_the_group(tmp_path, receipts):
    partitions.commit(tmp_path, receipts)

    group = zarr.open_group(tmp_path / "data.zarr", mode="r")
    found = xr.open_zarr(tmp_path / "data.zarr", consolidated=False, chunks=None)

    assert sorted(group.array_keys()) == ["image", "length", "valid"]
    assert found["image"].dims == ("sample", "y", "x")
    np.testing.assert_array_equal(found["length"], partitions.values(range(ROWS))["length"])
    np.testing.assert_array_equal(found["valid"], np.arange(ROWS) % 10 != 0)


def lose_shard(folder):
    (folder / "data.zarr/image/c.5.0.0").unlink()


def cut_shard(folder):
    path = folder / "data.zarr/length/c.5"
    path.write_bytes(path.read_bytes()[:-1])


def lose_ledger(folder):
    for path in (folder / "ledger").rglob("*.jsonl"):
        if path.name.startswith("rows-000000000032"):
            path.unlink()


def lose_valid(folder):
    (folder / "data.zarr/valid/c.1").unlink()


def other_bytes(folder):
    part = partitions.partition(folder, ROWS, 1)
    part.adopt({shard: partitions.key_of(part, shard, 1) for shard in part.shards})
    with part.open_ledger() as attempt:
        for shard in part.shards:
            attempt.append(partitions.make_shard(part, shard, version=1))


def lose_receipt(folder):
    (folder / "receipts/part-00001.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_shard, r"c\.5\.0\.0: is missing"),
        (cut_shard, r"length/c\.5: has \d+ bytes; recorded: \d+"),
        (lose_ledger, r"shard 4 has no record in the ledger\n.*shard 5 has no record"),
        (lose_valid, r"valid/c\.1: is missing or has another size"),
        (other_bytes, "the ledger does not add up to the receipt of part 1"),
        (lose_receipt, r"part-00001\.json: is missing"),
    ],
)
def test_a_stage_with_damage_is_not_committed_and_readers_see_what_was(
    damage, message, tmp_path, receipts
):
    partitions.commit(tmp_path, receipts[:1])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    damage(tmp_path)

    with pytest.raises(StorageError, match=message):
        partitions.commit(tmp_path, receipts)

    left = {path: content for path, content in before.items() if path.exists()}
    assert {path: path.read_bytes() for path in left} == left
    stage = Committed(Variant(tmp_path))
    np.testing.assert_array_equal(
        stage.reader().rows(0, stage.rows), partitions.values(range(32))["image"]
    )


def test_receipts_that_do_not_follow_one_another_are_refused(tmp_path, receipts):
    with pytest.raises(StorageError, match="begins at row 64; expected: row 32"):
        partitions.commit(tmp_path, [receipts[0], receipts[2]])


def test_during_an_append_readers_see_the_rows_committed_before(tmp_path, receipts):
    partitions.commit(tmp_path, receipts)

    more = partitions.make_all(tmp_path, rows=100)

    stage = Committed(Variant(tmp_path))
    assert stage.rows == ROWS
    np.testing.assert_array_equal(
        stage.reader().rows(0, ROWS), partitions.values(range(ROWS))["image"]
    )
    np.testing.assert_array_equal(stage.valid(), np.arange(ROWS) % 10 != 0)
    partitions.commit(tmp_path, more)
    later = Committed(Variant(tmp_path))
    np.testing.assert_array_equal(
        later.reader().rows(0, 100), partitions.values(range(100))["image"]
    )


def test_the_ledger_is_listed_once_however_many_partitions_there_are(
    tmp_path, receipts, monkeypatch
):
    listed = []
    files = ledger.files
    monkeypatch.setattr(ledger, "files", lambda folder: listed.append(folder) or files(folder))

    partitions.commit(tmp_path, receipts)

    assert len(receipts) > 1
    assert listed == [tmp_path / "ledger"]


def test_committing_again_changes_no_byte(tmp_path, receipts):
    partitions.commit(tmp_path, receipts)
    first = (tmp_path / "dataset.json").read_bytes()

    partitions.commit(tmp_path, receipts)

    assert (tmp_path / "dataset.json").read_bytes() == first
    assert str(tmp_path) not in json.dumps(read_json(tmp_path / "dataset.json"))


def test_a_later_format_is_refused(tmp_path, receipts):
    about = partitions.commit(tmp_path, receipts)
    write_json(tmp_path / "dataset.json", about | {"format": 2})

    with pytest.raises(StorageError, match="format 2; this sampan reads 1"):
        Committed(Variant(tmp_path)).rows  # noqa: B018


def test_a_stage_without_rows_reads_empty(tmp_path):
    partitions.commit(tmp_path, partitions.make_all(tmp_path, rows=0))

    assert Committed(Variant(tmp_path)).valid().shape == (0,)
