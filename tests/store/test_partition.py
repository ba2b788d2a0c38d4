import os
import random
import signal
import subprocess
import sys
import time

import pipeline
import pyarrow.parquet as pq
import pytest
from store import partitions

from sampan.store import ledger, ledger_files
from sampan.store.partition import category
from sampan.store.read import Reader
from sampan.store.shard import crc32c_of

LAYOUT = partitions.layout()


def test_a_finished_partition_has_nothing_left_to_do(tmp_path):
    made = partitions.make(partitions.partition(tmp_path))

    assert made == [0, 1, 2, 3]
    assert partitions.make(partitions.partition(tmp_path)) == []
    assert len(ledger_files.files(tmp_path / "ledger")) == 1


def test_a_partition_beyond_the_data_has_no_shards_wherever_the_data_end(tmp_path):
    part = partitions.partition(tmp_path, rows=21, part=1)

    assert partitions.make(part) == []
    assert part.first == 21
    assert part.invalid == []


def test_the_receipt_counts_what_was_made(tmp_path):
    part = partitions.partition(tmp_path, rows=22)
    partitions.make(part)

    receipt = partitions.committed.read_json(part.variant.receipt(0))

    assert receipt | {"digest": "", "valid_files": {}} == {
        "settings": "settings", "part": 0, "first": 0, "rows": 22, "valid": 19,
        "reasons": {"odd": 3}, "notes": {"cut": 3}, "keys": "keys 0 22",
        "digest": "", "valid_files": {},
    }  # fmt: skip


def test_a_receipt_depends_on_content_and_not_on_time_place_or_attempts(tmp_path):
    partitions.make(partitions.partition(tmp_path / "a"))
    part = partitions.partition(tmp_path / "b")
    part.adopt({shard: partitions.key_of(part, shard, 0) for shard in part.shards})
    with part.open_ledger() as attempt:
        attempt.append(partitions.make_shard(part, 2))
    partitions.make(partitions.partition(tmp_path / "b"))

    assert pipeline.bytes_of(tmp_path / "a") == pipeline.bytes_of(tmp_path / "b")


def test_valid_and_the_quarantine_come_from_the_records(tmp_path):
    part = partitions.partition(tmp_path, rows=22)
    partitions.make(part)

    valid = Reader(tmp_path / "data.zarr" / "valid", part.layout.arrays["valid"]).rows(0, 22)
    quarantine = pq.read_table(part.variant.quarantine(0)).to_pydict()
    assert valid.tolist() == [row % 10 != 0 for row in range(22)]
    assert quarantine == {
        "row": [0, 10, 20],
        "reason": ["odd: 0", "odd: 10", "odd: 20"],
        "key": ["s0", "s10", "s20"],
    }


def test_a_receipt_names_the_most_frequent_reasons_and_counts_the_others(tmp_path):
    part = partitions.partition(tmp_path)
    partitions.make(part)
    part.done[0].invalid[:] = [(row, f"reason {min(row, 24)}: x") for row in range(30)]

    reasons = part.finish({})["reasons"]

    assert len(reasons) == 21
    assert reasons["reason 24"] == 6
    assert sum(reasons.values()) == len(part.invalid)


def test_other_rows_a_job_adopt_the_shards_that_were_made(tmp_path, monkeypatch):
    partitions.make_all(tmp_path, rows=64)
    monkeypatch.setattr(partitions, "ROWS_PER_PART", 64)

    assert partitions.make(partitions.partition(tmp_path, rows=64)) == []


def test_new_rows_make_the_last_shard_again_and_those_behind_it(tmp_path):
    partitions.make(partitions.partition(tmp_path, rows=20))

    assert partitions.make(partitions.partition(tmp_path, rows=28)) == [2, 3]


def test_bytes_that_were_written_over_are_not_adopted_under_their_old_key(tmp_path):
    partitions.make(partitions.partition(tmp_path), version=0)
    before = pipeline.bytes_of(tmp_path)
    partitions.make(partitions.partition(tmp_path), version=1)
    assert pipeline.bytes_of(tmp_path) != before

    made = partitions.make(partitions.partition(tmp_path), version=0)

    assert made == [0, 1, 2, 3]
    assert pipeline.bytes_of(tmp_path) == before


def test_a_kill_between_writing_over_a_shard_and_recording_it_is_no_trap(tmp_path):
    partitions.make(partitions.partition(tmp_path), version=0)
    before = pipeline.bytes_of(tmp_path)
    other = partitions.partition(tmp_path)
    other.adopt({shard: partitions.key_of(other, shard, 1) for shard in other.shards})
    with other.open_ledger():
        partitions.make_shard(other, 2, version=1)

    partitions.make(partitions.partition(tmp_path), version=0)

    assert pipeline.bytes_of(tmp_path) == before


def test_the_category_of_a_reason_is_what_stands_before_its_detail():
    assert category("truncated JPEG: 8 bytes: gone") == "truncated JPEG"
    assert category("empty cell") == "empty cell"


# Kills --------------------------------------------------------------------------------------------


@pytest.fixture
def make_and_kill(tmp_path):
    """Starts a process that makes a stage of 128 shards, and kills it after some seconds."""

    def run(seconds):
        with subprocess.Popen(
            [sys.executable, "-m", "store.partitions", str(tmp_path / "killed")],
            stdout=subprocess.PIPE,
            env=pipeline.environment_of(PYTHONPATH=os.path.dirname(pipeline.__file__)),
        ) as child:
            child.stdout.readline()
            if seconds is not None:
                time.sleep(seconds)
                os.kill(child.pid, signal.SIGKILL)
        return child.returncode

    return run


def test_killed_at_any_moment_no_recorded_shard_is_wrong_and_the_final_bytes_are_equal(
    make_and_kill, tmp_path, monkeypatch
):
    moments = random.Random(5)
    done = []
    for _ in range(8):
        make_and_kill(moments.uniform(0.0, 0.025))
        records = ledger.records(tmp_path / "killed" / "ledger", 0, 1024)
        done.append(len(records))
        for shard, found in records.items():
            assert len(found) == 1, f"shard {shard} was made twice"
            for array, file in found[0].files.items():
                path = (
                    tmp_path / "killed/data.zarr" / array / LAYOUT.arrays[array].shard_file(shard)
                )
                assert crc32c_of(path) == file["crc32c"]
    assert any(0 < number < 128 for number in done), "no kill came while shards were made"

    assert make_and_kill(None) == 0

    for path in list((tmp_path / "killed").rglob("*.partial")):
        path.unlink()
    monkeypatch.setattr(partitions, "ROWS_PER_PART", 1024)
    partitions.make(partitions.partition(tmp_path / "undisturbed", rows=1020))
    assert pipeline.bytes_of(tmp_path / "killed") == pipeline.bytes_of(tmp_path / "undisturbed")
