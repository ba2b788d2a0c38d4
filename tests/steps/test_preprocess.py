import copy
import errno
import importlib
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pipeline
import pyarrow.parquet as pq
import pytest
import zarr
from steps import running

from sampan.cli import main
from sampan.index.sample_files import SampleFiles
from sampan.storage import lease
from sampan.storage.durable import read_json
from sampan.store import ledger, ledger_files
from sampan.store.layout import Layout
from sampan.store.shard import crc32c_of
from sampan.store.variant import Variant

INDEX = ("scan", "index")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Pictures and their committed variant, as one job on two threads made it."""
    config = running.pictures(tmp_path_factory.mktemp("pictures"))
    pipeline.run(config, (*INDEX, "preprocess"))
    return config


@pytest.fixture
def indexed(undisturbed, tmp_path):
    """The same pictures where only the index is made."""
    config = running.elsewhere(undisturbed, tmp_path / "results")
    shutil.copytree(
        Path(undisturbed["results"]) / "pictures/index", tmp_path / "results/pictures/index"
    )
    return config


@pytest.fixture
def texts(tmp_path):
    config = running.text_files(tmp_path)
    pipeline.run(config, INDEX)
    return config


def committed(config):
    (commit,) = [words for words in pipeline.commands(config, ["preprocess"])
                 if words[0] == "commit"]  # fmt: skip
    assert main(commit) == 0
    (dataset,) = config["datasets"]
    (modality,) = config["datasets"][dataset]["modalities"]
    return pipeline.bytes_of(pipeline.folder_of(config, modality, dataset))


def is_whole(folder):
    """Every shard that the ledger vouches for has the bytes that it names."""
    variant = Variant(folder)
    layout = Layout.from_json(read_json(variant.layout))
    records = [
        record
        for file in ledger_files.files(variant.ledger)
        for _, record in ledger.read(file.path)
        if record is not None
    ]
    return records and all(
        crc32c_of(variant.shard(layout, array, record.shard)) == about["crc32c"]
        for record in records
        for array, about in record.files.items()
    )


# Killed -------------------------------------------------------------------------------------------


def test_a_job_killed_twice_ends_with_the_same_bytes(undisturbed, indexed, tmp_path):
    variant = pipeline.folder_of(indexed, "image", "pictures")
    words = running.job(indexed, "preprocess")

    kills = [
        running.Job(words, tmp_path / "log").kill_when(
            lambda least=least: len(running.recorded(variant)) >= least
        )
        for least in (1, 6)
    ]
    ended = running.Job(words, tmp_path / "log").wait()

    assert (kills, ended) == ([True, True], 0)
    assert sorted(running.recorded(variant)) == list(range(16))  # none was done twice
    shutil.rmtree(variant / "tmp")
    made = committed(indexed)
    expected = committed(undisturbed)
    assert made == {name: data for name, data in expected.items() if not name.startswith("tmp")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_job_that_is_asked_to_stop_ends_at_the_next_shard_and_goes_on_from_there(
    number, undisturbed, indexed, tmp_path
):
    variant = pipeline.folder_of(indexed, "image", "pictures")
    words = running.job(indexed, "preprocess")
    job = running.Job(words, tmp_path / "log", **running.slow(tmp_path, 0.05))
    asked = job.signal_when(number, lambda: len(running.recorded(variant)) >= 1)

    stopped = job.wait()

    recorded = running.recorded(variant)
    assert (asked, stopped) == (True, 75)
    assert 0 < len(recorded) < 16
    assert "run again to go on" in (tmp_path / "log").read_text()
    assert list(variant.glob("tmp/*")) == [] == list(variant.glob("leases/*"))
    assert running.Job(words, tmp_path / "log").wait() == 0
    assert running.recorded(variant)[: len(recorded)] == recorded
    assert sorted(running.recorded(variant)) == list(range(16))  # none was done twice
    assert committed(indexed) == committed(undisturbed)


def test_two_jobs_at_one_partition_do_each_shard_once(undisturbed, indexed, tmp_path):
    variant = pipeline.folder_of(indexed, "image", "pictures")
    words = running.job(indexed, "preprocess")

    slow = running.slow(tmp_path, 0.05)
    jobs = [running.Job(words, tmp_path / f"log {i}", **slow) for i in range(2)]
    ended = [job.wait() for job in jobs]

    logs = [(tmp_path / f"log {i}").read_text() for i in range(2)]
    assert ended == [0, 0]
    assert sum("waits for the attempt on" in log for log in logs) == 1
    assert sorted(running.recorded(variant)) == list(range(16))
    assert committed(indexed) == committed(undisturbed)


def test_an_attempt_that_was_taken_for_dead_stands_aside_when_it_wakes(
    undisturbed, indexed, tmp_path
):
    variant = pipeline.folder_of(indexed, "image", "pictures")
    words = running.job(indexed, "preprocess")
    first = running.Job(words, tmp_path / "first", **running.slow(tmp_path, 0.05))
    assert first.signal_when(signal.SIGSTOP, lambda: len(running.recorded(variant)) >= 1)
    (held,) = lease.attempts(variant / "leases")
    os.utime(held.path, (0, 0))

    second = running.Job(words, tmp_path / "second").wait()
    first.go_on()
    woken = first.wait()

    assert (second, woken) == (0, 75)
    assert "taken for dead" in (tmp_path / "first").read_text()
    assert sorted(running.recorded(variant)) == list(range(16))
    shutil.rmtree(variant / "tmp")
    made = committed(indexed)
    assert made == {
        name: data for name, data in committed(undisturbed).items() if not name.startswith("tmp")
    }


def test_a_job_that_waits_for_another_ends_when_it_is_asked_to(indexed, tmp_path):
    variant = pipeline.folder_of(indexed, "image", "pictures")
    words = running.job(indexed, "preprocess")
    with lease.Lease(variant / "leases", "part-00000"):
        job = running.Job(words, tmp_path / "log")
        asked = job.signal_when(
            signal.SIGUSR1, lambda: "waits for" in (tmp_path / "log").read_text()
        )

        stopped = job.wait()

    assert (asked, stopped) == (True, 75)
    assert list(variant.glob("leases/*")) == []


def test_the_ledger_is_listed_and_read_no_more_often_for_more_shards(texts, monkeypatch):
    shorter = copy.deepcopy(texts)
    shorter["datasets"]["texts"]["modalities"]["text"]["rows_per_shard"] = 2
    calls = []
    for name in ("files", "read"):
        call = getattr(ledger, name)
        monkeypatch.setattr(ledger, name, lambda path, call=call: calls.append(path) or call(path))

    counts = []
    for config, shards in ((texts, 3), (shorter, 24)):
        calls.clear()
        assert main(running.job(config, "preprocess")) == 0
        counts.append(len(calls))
        assert len(running.recorded(pipeline.folder_of(config, "text"))) == shards

    assert counts[0] == counts[1]


def test_a_job_with_nothing_left_to_do_starts_no_cluster(texts, monkeypatch):
    words = running.job(texts, "preprocess")
    receipt = Path(words[words.index("--receipt") + 1])
    pools = running.count_pools(monkeypatch)
    assert main(words) == 0
    first = receipt.read_bytes()
    receipt.unlink()

    assert main(words) == 0

    assert receipt.read_bytes() == first
    assert pools == ["threads"]  # of the first time


def test_a_receipt_does_not_depend_on_the_threads(undisturbed, indexed):
    words = running.job(indexed, "preprocess", threads=1)

    assert main(words) == 0

    assert committed(indexed) == committed(undisturbed)


# Storage ------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, 160 kB large."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_fails_the_job_and_a_later_one_finishes(undisturbed, small_disk):
    config = running.elsewhere(undisturbed, small_disk)
    source = Path(undisturbed["results"]) / "pictures/index"
    shutil.copytree(source, small_disk / "pictures/index")
    variant = pipeline.folder_of(config, "image", "pictures")
    words = running.job(config, "preprocess", threads=1, patience_seconds=1.5)

    full = pipeline.sampan(*words)

    assert full.returncode == 2
    assert full.stderr.splitlines()[-1].startswith("error: ")
    assert "No space left on device" in full.stderr.splitlines()[-1]
    assert "trying again" in full.stderr
    assert "Traceback" not in full.stderr
    assert is_whole(variant)
    assert not list(variant.glob("receipts/*")) + list(variant.glob("quarantine/*"))
    assert not (variant / "dataset.json").exists()

    larger = ["mount", "-o", "remount,size=8m", str(small_disk)]
    subprocess.run(larger, check=True)
    again = pipeline.sampan(*words)

    assert again.returncode == 0, again.stderr
    assert sorted(running.recorded(variant)) == list(range(16))
    assert committed(config) == committed(undisturbed)


@pytest.mark.parametrize("failing", ["store.shard", "store.ledger", "storage.durable"])
def test_a_disk_that_is_full_for_a_while_is_waited_for(texts, failing, monkeypatch, caplog):
    undisturbed = running.elsewhere(texts, Path(texts["results"]).with_name("undisturbed"))
    shutil.copytree(texts["results"], undisturbed["results"])
    assert main(running.job(undisturbed, "preprocess")) == 0
    writes = monkeypatch_once_full(monkeypatch, f"sampan.{failing}.write_all")

    assert main(running.job(texts, "preprocess", patience_seconds=30)) == 0

    assert writes
    assert "trying again" in caplog.text
    assert committed(texts) == committed(undisturbed)


def monkeypatch_once_full(monkeypatch, name):
    """The second write finds space for its half; the list gets an entry then."""
    module, _, function = name.rpartition(".")
    real = getattr(importlib.import_module(module), function)
    found, calls = [], []

    def write(file, data):
        calls.append(len(data))
        if len(calls) == 2:
            file.write(data[: len(data) // 2])
            found.append(1)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, data)

    monkeypatch.setattr(name, write)
    return found


def away(monkeypatch, folder, *, calls, seconds):
    """Rename a folder after so many texts were read, and back after so many seconds."""
    elsewhere = folder.with_name("away")
    read = SampleFiles.read
    seen = []

    def read_and_rename(self, source, cell):
        data = read(self, source, cell)
        seen.append(len(data))
        if len(seen) == calls:
            folder.rename(elsewhere)
            if seconds:
                threading.Timer(seconds, lambda: elsewhere.rename(folder)).start()
        return data

    monkeypatch.setattr(SampleFiles, "read", read_and_rename)


@pytest.mark.parametrize(
    ("folders", "name"),
    [(1, "source"), (1, "source/texts"), (1, "source/texts/0"), (48, "source/texts")],
    ids=["the table's", "one below", "the files'", "one of many"],
)
@pytest.mark.parametrize("calls", [10, 16], ids=["within a shard", "between shards"])
def test_a_folder_that_is_away_for_a_while_quarantines_nothing(
    tmp_path, monkeypatch, folders, name, calls
):
    config = running.text_files(tmp_path / "source", folders=folders)
    config = running.elsewhere(config, tmp_path / "results")
    pipeline.run(config, INDEX)
    away(monkeypatch, tmp_path / name, calls=calls, seconds=0.5)

    code = main(running.job(config, "preprocess", threads=1, patience_seconds=30))

    receipt = read_json(Variant(pipeline.folder_of(config, "text")).receipt(0))
    assert code == 0
    assert (receipt["rows"], receipt["valid"], receipt["reasons"]) == (48, 48, {})


@pytest.mark.parametrize("name", ["source", "source/texts"])
def test_a_folder_that_stays_away_fails_the_job_and_records_nothing(
    tmp_path, monkeypatch, capsys, name
):
    config = running.text_files(tmp_path / "source")
    config = running.elsewhere(config, tmp_path / "results")
    pipeline.run(config, INDEX)
    away(monkeypatch, tmp_path / name, calls=20, seconds=None)

    code = main(running.job(config, "preprocess", threads=1, patience_seconds=1))

    variant = pipeline.folder_of(config, "text")
    assert code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    assert running.recorded(variant) == [0]  # made before
    assert not list(variant.glob("receipts/*")) + list(variant.glob("quarantine/*"))


# Bad data -----------------------------------------------------------------------------------------


def test_a_missing_file_costs_one_sample(texts, tmp_path):
    (tmp_path / "texts/0/5.txt").unlink()

    assert main(running.job(texts, "preprocess")) == 0

    variant = pipeline.folder_of(texts, "text")
    table = pq.read_table(variant / "quarantine/part-00000.parquet").to_pydict()
    assert table["row"] == [5]
    assert table["reason"] == ["missing file"]
    assert (table["key"], table["cell"]) == (["5"], ["texts/0/5.txt"])


def test_the_quarantine_names_the_right_rows_of_a_long_index(tmp_path):
    config = pipeline.texts(tmp_path, rows=20_000, rows_per_shard=4096)
    config["datasets"]["texts"] |= {"capacity": 32_768, "rows_per_job": 32_768, "features": {}}
    pipeline.run(config, (*INDEX, "preprocess"))

    table = pq.read_table(
        pipeline.folder_of(config, "text") / "quarantine/part-00000.parquet"
    ).to_pydict()

    assert table["row"] == list(range(49, 20_000, 50))
    assert table["key"] == [f"s{row:04d}" for row in table["row"]]
    assert set(table["cell"]) == {" "}


def test_too_many_invalid_samples_stop_the_job_with_numbers(tmp_path, capsys):
    config = running.text_files(tmp_path)
    for i in range(9):
        (tmp_path / f"texts/0/{i}.txt").write_bytes(b"\xff\xff")
    pipeline.run(config, INDEX)

    code = main(running.job(config, "preprocess"))

    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    variant = pipeline.folder_of(config, "text")
    assert code == 2
    assert "9 of 48 samples are invalid (not UTF-8); max_invalid: 0.05 allows 3" in line
    assert not list(variant.glob("receipts/*"))
    assert not (variant / "dataset.json").exists()


def test_raising_max_invalid_afterwards_decodes_nothing_again(tmp_path, monkeypatch):
    config = running.text_files(tmp_path)
    for i in range(9):
        (tmp_path / f"texts/0/{i}.txt").write_bytes(b"\xff\xff")
    pipeline.run(config, INDEX)
    pools = running.count_pools(monkeypatch)
    assert main(running.job(config, "preprocess")) == 2
    config["datasets"]["texts"]["modalities"]["text"]["max_invalid"] = 0.25

    assert main(running.job(config, "preprocess")) == 0
    assert pools == ["threads"]  # of the first time
    assert len(committed(config)) > 0


def test_a_missing_table_is_an_error_line(tmp_path, capsys):
    config = running.text_files(tmp_path)
    (tmp_path / "texts.csv").unlink()
    scan = next(words for words in pipeline.commands(config) if words[0] == "scan")

    code = main(scan)

    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert f"{tmp_path}/texts.csv: no such table" in line


# Grants -------------------------------------------------------------------------------------------


def test_a_grant_that_is_too_small_is_refused_with_numbers(indexed, capsys):
    code = main(running.job(indexed, "preprocess", memory_mb=1000))

    assert code == 2
    assert "MB of memory with 2 threads; granted: 1,000 MB" in capsys.readouterr().err
    assert not list(pipeline.folder_of(indexed, "image", "pictures").glob("data.zarr/*/c.*"))


def test_a_broken_picture_is_zeros_and_not_valid(undisturbed):
    variant = pipeline.folder_of(undisturbed, "image", "pictures")
    committed(undisturbed)

    stage = zarr.open_group(variant / "data.zarr", mode="r")
    image, valid = np.asarray(stage["image"]), np.asarray(stage["valid"])

    assert np.flatnonzero(~valid).tolist() == [3]
    assert not image[3].any()
    assert image[4].any()
