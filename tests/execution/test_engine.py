import os
from pathlib import Path

import numpy as np
import own_step
import pyarrow.parquet as pq
import pytest
from own_step import ROWS, Numbers, Squares
from steps import running

from sampan.compute import Grant
from sampan.errors import ConfigError, DataError, StorageError
from sampan.execution import engine, rounds
from sampan.execution.engine import make_partition, make_partition_in_turn
from sampan.execution.shard_job import maker_of, name_of
from sampan.progress import Progress
from sampan.storage.durable import read_json
from sampan.store import ledger
from sampan.store.read import Reader
from sampan.store.variant import Variant

GRANT = Grant(threads=2, memory_mb=2048)


@pytest.fixture
def receipt(tmp_path):
    return tmp_path / "part-00000.json"


def made(folder, receipt, **settings):
    """The partition that a step of one's own makes."""
    patience = settings.pop("patience_seconds", 5)
    return make_partition(
        Squares(own_step.job(**settings)), folder, 0, receipt, GRANT, patience_seconds=patience
    )


def values(partition):
    array = partition.layout.arrays["squares"]
    return Reader(partition.variant.data / "squares", array).rows(0, ROWS)[:, 0]


def recorded(folder):
    variant = Variant.of(folder, own_step.job().stage)
    return sorted(ledger.records(variant.ledger, 0, ROWS))


def test_a_step_of_ones_own_makes_rows_records_quarantine_and_receipt(tmp_path, receipt):
    partition = made(tmp_path, receipt)

    expected = np.arange(ROWS, dtype=np.float32) ** 2
    expected[own_step.NOTHING] = np.nan
    np.testing.assert_array_equal(values(partition), expected)
    assert recorded(tmp_path) == [0, 1, 2, 3]
    found = read_json(receipt)
    assert (found["rows"], found["valid"]) == (ROWS, ROWS - 1)
    assert found["reasons"] == {"no value": 1}
    assert found["notes"] == {"counted": 4}
    table = pq.read_table(partition.variant.quarantine(0)).to_pylist()
    assert table == [{"row": 13, "reason": "no value: unlucky", "key": "n13"}]


def test_shards_that_are_recorded_are_adopted_and_the_receipt_is_the_same(
    tmp_path, receipt, monkeypatch
):
    made(tmp_path, receipt)
    first = receipt.read_bytes()
    receipt.unlink()
    monkeypatch.setattr(Squares, "make", lambda *_: pytest.fail("a shard was made again"))

    made(tmp_path, receipt)

    assert receipt.read_bytes() == first


def test_rows_that_kill_their_worker_are_found_and_the_others_are_made(
    tmp_path, receipt, monkeypatch
):
    tests = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]))

    partition = made(tmp_path, receipt, kills=(3, 20), workers="processes")

    crashed = "crashed its decoder: segmentation fault"
    reasons = dict(partition.invalid)
    assert reasons == {3: crashed, 13: "no value: unlucky", 20: crashed}
    assert np.flatnonzero(np.isnan(values(partition))).tolist() == [3, 13, 20]


def test_a_full_disk_is_waited_for(tmp_path, receipt):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/2").touch()

    made(tmp_path, receipt, full=str(tmp_path / "full"))

    assert recorded(tmp_path) == [0, 1, 2, 3]
    assert not list((tmp_path / "full").iterdir())


def test_a_disk_that_stays_full_ends_the_job_and_what_is_recorded_is_not_made_again(
    tmp_path, receipt, monkeypatch
):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/3-for-ever").touch()
    full = str(tmp_path / "full")

    with pytest.raises(StorageError, match="cannot be written"):
        made(tmp_path, receipt, full=full, patience_seconds=0)

    kept = recorded(tmp_path)
    assert 3 not in kept
    assert not receipt.exists()
    begun = tmp_path / "begun"
    make = Squares.make

    def counted(self, task, *more):
        with begun.open("a") as file:
            file.write(f"{task.shard}\n")
        return make(self, task, *more)

    monkeypatch.setattr(Squares, "make", counted)
    made(tmp_path, receipt)
    assert sorted([*map(int, begun.read_text().split()), *kept]) == [0, 1, 2, 3]


def test_more_invalid_samples_than_allowed_stop_the_partition_before_its_receipt(tmp_path, receipt):
    with pytest.raises(DataError, match=r"1 of 32 samples .* \(no value\).* 0\.01 allows 0"):
        made(tmp_path, receipt, max_invalid=0.01)

    assert recorded(tmp_path) == [0, 1, 2, 3]
    assert not receipt.exists()

    made(tmp_path, receipt, max_invalid=1 / 32)
    assert receipt.exists()


def test_dasks_workers_go_on_where_much_is_left(tmp_path, receipt, monkeypatch):
    monkeypatch.setattr(rounds, "LOOK_SECONDS", 0)
    monkeypatch.setattr(rounds, "BRIEF_SECONDS", 0)
    short = made(tmp_path / "short", tmp_path / "short.json")
    pools = running.count_pools(monkeypatch)

    long = made(tmp_path, receipt, workers="processes")

    assert pools == ["children", "dask"]
    assert recorded(tmp_path) == [0, 1, 2, 3]
    np.testing.assert_array_equal(values(long), values(short))


def test_what_is_left_is_not_known_before_something_is_done():
    progress = Progress("", 100, "samples")
    is_long = rounds._Estimate(100, progress)
    is_long._start -= rounds.LOOK_SECONDS + 10

    assert not is_long()
    progress.add(1)
    assert is_long()
    progress.add(90)
    assert not is_long()


def test_a_shard_whose_worker_dies_each_time_ends_the_job_after_some_rounds(
    tmp_path, receipt, monkeypatch
):
    monkeypatch.setattr(rounds, "_without_culprits", lambda task, memory_mb: task)
    pools = running.count_pools(monkeypatch)

    with pytest.raises(DataError, match=r"workers died 3 times at rows 8 to 15; no single sample"):
        made(tmp_path, receipt, workers="processes", kills=(9,))

    assert pools == ["children"]


def test_a_reason_found_here_is_never_taken_for_one_from_above(tmp_path, receipt, monkeypatch):
    above, make = "numbers is not valid", Squares.make
    monkeypatch.setattr(
        Numbers, "own_faults", lambda self, invalid: [it for it in invalid if it[1] != above]
    )
    monkeypatch.setattr(
        Squares, "make", lambda self, *words: {**make(self, *words), words[0].first: above}
    )

    with pytest.raises(DataError, match=r"5 of 32 samples .*found here"):
        made(tmp_path, receipt, max_invalid=0.01)


def test_a_grant_that_is_too_small_is_refused_before_anything_is_made(tmp_path, receipt):
    maker = Squares(own_step.job())

    with pytest.raises(ConfigError, match=r"square.*10 MB"):
        make_partition(maker, tmp_path, 0, receipt, Grant(threads=1, memory_mb=5))

    assert recorded(tmp_path) == []


def test_the_receipt_is_written_last(tmp_path, receipt):
    (tmp_path / "full").touch()

    with pytest.raises(StorageError):
        made(tmp_path, tmp_path / "full/part-00000.json", patience_seconds=0)
    made(tmp_path, receipt)

    assert read_json(receipt)["rows"] == ROWS


def test_two_attempts_at_a_partition_are_made_one_after_the_other(tmp_path, receipt, monkeypatch):
    seen = []
    monkeypatch.setattr(engine, "make_partition", lambda *words: seen.append(words[-1]))

    make_partition_in_turn(Squares(own_step.job()), tmp_path, 0, receipt, GRANT, 5)

    leases = Variant.of(tmp_path, own_step.job().stage).leases
    assert len(seen) == 1
    assert leases.is_dir()


def test_a_maker_is_found_again_by_its_name_with_the_same_job():
    maker = Squares(own_step.job(kills=(3,)))

    assert maker_of(name_of(maker), maker.job.to_json()) == maker
