import json
import os
from collections import Counter
from pathlib import Path

import pipeline
import pytest

from sampan.runs.counts import PartitionCounts, Receipts, UnderWay, listing
from sampan.storage.durable import write_json
from sampan.store import ledger, ledger_files
from sampan.store.variant import Variant

PARTS = [f"part-{part:05d}" for part in range(4)]
VALID = {"part-00000": 63, "part-00001": 63, "part-00002": 21, "part-00003": 0}
ROWS = {"part-00000": 64, "part-00001": 64, "part-00002": 22, "part-00003": 0}


@pytest.fixture
def variant(tmp_path):
    return Variant(pipeline.folder_of(pipeline.finished_texts(tmp_path), "text"))


@pytest.fixture
def reads(monkeypatch):
    """How often each file was read."""
    counted = Counter()
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: (counted.update([p.name]), read(p))[1])
    return counted


def of(variant):
    return Receipts(variant.path / "receipts", variant.dataset)


def look(receipts, variant):
    return receipts.look(listing(variant.path / "receipts"), PARTS)


def test_of_a_committed_stage_only_dataset_json_is_read(variant, reads):
    receipts = of(variant)

    found = look(receipts, variant)

    assert {part: counts.valid for part, counts in found.items()} == VALID
    assert {part: counts.rows for part, counts in found.items()} == ROWS
    assert receipts.is_committed
    assert reads == {"dataset.json": 1}


def test_before_the_commit_each_receipt_is_read_once(variant, reads):
    variant.dataset.unlink()
    receipts = of(variant)

    first, second = look(receipts, variant), look(receipts, variant)

    assert first == second
    assert {part: counts.valid for part, counts in first.items()} == VALID
    assert not receipts.is_committed
    assert reads == {f"{part}.json": 1 for part in PARTS}


def test_a_receipt_that_comes_is_read_at_the_next_look(variant):
    variant.dataset.unlink()
    last = variant.receipt(2).read_bytes()
    variant.receipt(2).unlink()
    receipts = of(variant)

    before = look(receipts, variant)
    variant.receipt(2).write_bytes(last)
    after = look(receipts, variant)

    assert "part-00002" not in before
    assert after["part-00002"][:2] == (22, 21)


def test_a_partition_that_grew_counts_as_its_new_receipt_says_and_is_not_committed(variant):
    receipts = of(variant)
    look(receipts, variant)
    grown = json.loads(variant.receipt(2).read_bytes()) | {"rows": 40, "valid": 39, "digest": "x"}
    write_json(variant.receipt(2), grown)

    found = look(receipts, variant)

    assert found["part-00002"][:2] == (40, 39)
    assert not receipts.is_committed


def test_a_receipt_that_was_made_again_as_it_was_is_still_committed(variant):
    receipts = of(variant)
    write_json(variant.receipt(2), json.loads(variant.receipt(2).read_bytes()))

    look(receipts, variant)

    assert receipts.is_committed


@pytest.mark.parametrize("parts", [PARTS[:3], [*PARTS, "part-00004"]])
def test_a_commit_of_more_or_fewer_partitions_is_not_this_configs(variant, parts):
    receipts = of(variant)

    receipts.look(listing(variant.path / "receipts"), parts)

    assert not receipts.is_committed


def test_a_receipt_that_is_removed_while_we_look_is_not_done(variant):
    variant.dataset.unlink()
    there = listing(variant.path / "receipts")
    variant.receipt(1).unlink()

    found = of(variant).look(there, PARTS)

    assert found.keys() == {"part-00000", "part-00002", "part-00003"}


def test_nothing_is_there_at_first(tmp_path):
    variant = Variant(tmp_path / "none")
    receipts = of(variant)

    assert look(receipts, variant) == {}
    assert not receipts.is_committed
    assert UnderWay(variant, 64).look(PARTS, []) == PartitionCounts(0, 0)


def test_two_thousand_receipts_are_read_once_and_never_looked_at_one_by_one(
    tmp_path, reads, monkeypatch
):
    variant = Variant(tmp_path)
    parts = [f"part-{part:05d}" for part in range(2000)]
    (tmp_path / "receipts").mkdir()
    for part in parts:
        receipt = {"rows": 8, "valid": 7, "keys": "k", "digest": part}
        (tmp_path / f"receipts/{part}.json").write_text(json.dumps(receipt))
    calls = Counter()
    scandir, stat = os.scandir, Path.stat
    monkeypatch.setattr(os, "scandir", lambda path: (calls.update(["list"]), scandir(path))[1])
    monkeypatch.setattr(
        Path, "stat", lambda path, **more: (calls.update(["stat"]), stat(path, **more))[1]
    )
    receipts = of(variant)

    looks = [
        receipts.look(listing(variant.path / "receipts"), parts),
        receipts.look(listing(variant.path / "receipts"), parts),
    ]

    assert [sum(counts.valid for counts in found.values()) for found in looks] == [14000, 14000]
    assert reads.total() == 2000
    assert calls["list"] == 2
    assert calls["stat"] <= 4


# Under way ----------------------------------------------------------------------------------------


def test_recorded_shards_of_partitions_that_are_not_done_count(variant):
    found = UnderWay(variant, 64)

    assert found.look(["part-00000"], []) == PartitionCounts(64, 63)
    assert found.look(["part-00001", "part-00002"], []) == PartitionCounts(86, 84)
    assert found.look([], []) == PartitionCounts(0, 0)


def test_records_that_were_withdrawn_do_not_count(variant):
    ledger.forget(variant.ledger, [0, 3], rows_per_shard=16)  # row 49 is in shard 3

    assert UnderWay(variant, 64).look(["part-00000"], []) == PartitionCounts(32, 32)


def test_a_shard_that_was_made_twice_counts_once(variant):
    (first,) = [file for file in ledger_files.files(variant.ledger) if file.first == 0]
    second = first.path.with_name(first.path.name.replace(".00000", ".f0000"))
    second.write_bytes(first.path.read_bytes())

    assert UnderWay(variant, 64).look(["part-00000"], []) == PartitionCounts(64, 63)


def test_only_the_ledgers_of_running_jobs_are_read_again(variant, reads):
    found = UnderWay(variant, 64)
    names = {file.first // 64: file.path.name for file in ledger_files.files(variant.ledger)}
    parts = ["part-00000", "part-00001"]

    for _ in range(3):
        found.look(parts, running=["part-00001"])

    assert (reads[names[0]], reads[names[1]], reads[names[2]]) == (1, 3, 0)


def test_a_ledger_that_grows_while_its_job_runs_is_read_to_its_end(variant):
    (file,) = [file for file in ledger_files.files(variant.ledger) if file.first == 0]
    lines = file.path.read_bytes().splitlines(keepends=True)
    found = UnderWay(variant, 64)

    counts = []
    for shards in (1, 2):
        file.path.write_bytes(b"".join(lines[:shards]))
        counts.append(found.look(["part-00000"], running=["part-00000"]).rows)
    file.path.write_bytes(b"".join(lines))
    counts.append(found.look(["part-00000"], running=[]).rows)

    assert counts == [16, 32, 64]
