import errno

import pytest
from store import partitions

from sampan.compute import Grant
from sampan.errors import DataError, StorageError
from sampan.steps.shards import Made, ShardTask, check_invalid, make_shards, settle
from sampan.store import ledger
from sampan.store.durable import read_json

GRANT = Grant(threads=2, memory_mb=2048)
STAGE = {"kind": "features", "dataset": "d", "name": "image.hog", "digest": "0" * 64}
SPEC = {"stage": STAGE, "rows_per_job": 32, "max_invalid": 0.1}


def tasks_of(part, patience_seconds=5.0):
    part.adopt({shard: partitions.key_of(part, shard, 0) for shard in part.shards})
    return [
        ShardTask(
            step="extract",
            spec=SPEC,
            results="",
            part=0,
            shard=shard,
            first=part.rows_of(shard).start,
            stop=part.rows_of(shard).stop,
            key=partitions.key_of(part, shard, 0),
            outbox=str(part.outbox),
            patience_seconds=patience_seconds,
        )
        for shard in part.shards
        if shard not in part.done
    ]


@pytest.fixture
def part(tmp_path):
    return partitions.partition(tmp_path)


def full_disk():
    raise StorageError("shard: cannot be written") from OSError(errno.ENOSPC, "No space left")


def test_every_shard_that_is_made_is_recorded(part):
    def work(task):
        return Made(partitions.make_shard(part, task.shard))

    make_shards(part, tasks_of(part), work, GRANT, "threads")

    assert sorted(part.done) == [0, 1, 2, 3]
    assert sorted(ledger.records(part.variant.ledger, 0, 32)) == [0, 1, 2, 3]


def test_a_full_disk_is_waited_for(part, tmp_path):
    def work(task):
        if task.shard == 2 and not (tmp_path / "was full").exists():
            (tmp_path / "was full").touch()
            full_disk()
        return Made(partitions.make_shard(part, task.shard))

    make_shards(part, tasks_of(part), work, GRANT, "threads")

    assert (tmp_path / "was full").exists()
    assert sorted(part.done) == [0, 1, 2, 3]


def test_a_disk_that_stays_full_ends_the_job_and_keeps_what_is_recorded(part):
    def work(task):
        if task.shard == 3:
            full_disk()
        return Made(partitions.make_shard(part, task.shard))

    with pytest.raises(StorageError, match="cannot be written"):
        make_shards(part, tasks_of(part, patience_seconds=0), work, GRANT, "threads")

    recorded = sorted(ledger.records(part.variant.ledger, 0, 32))
    assert recorded == sorted(part.done)
    assert [task.shard for task in tasks_of(partitions.partition(part.variant.path))] == [
        shard for shard in part.shards if shard not in recorded
    ]


def test_more_invalid_samples_than_allowed_stop_the_partition(part):
    partitions.make(part)

    with pytest.raises(DataError, match=r"4 of 32 samples are invalid \(odd\).* 0\.1 allows 3"):
        check_invalid(SPEC, part, part.invalid)

    assert check_invalid(SPEC, part, part.invalid[:3]) == part.invalid[:3]


def test_the_receipt_is_written_last(part, tmp_path):
    partitions.make(part)
    (tmp_path / "full").touch()

    with pytest.raises(StorageError):
        settle(part, tmp_path / "full" / "part-00000.json", {}, 0)
    settle(part, tmp_path / "part-00000.json", {}, 0)

    assert read_json(tmp_path / "part-00000.json")["rows"] == 32
