import errno
import json
import os
import random
import signal
import subprocess
import sys
import time

import pipeline
import pytest

from sampan.errors import StorageError
from sampan.storage import durable
from sampan.storage.durable import patiently, read_json, storing, write_bytes, write_json

REWRITE = """
import sys
from pathlib import Path
from sampan.storage.durable import write_json
number = 0
while True:
    write_json(Path(sys.argv[1]), {"number": number, "again": [number] * 20000})
    number += 1
    if number == 1:
        print("ready", flush=True)
"""


def test_a_file_that_is_replaced_is_whole_whenever_its_writer_is_killed(tmp_path):
    path = tmp_path / "value.json"
    moments = random.Random(1)
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", REWRITE, str(path)],
            stdout=subprocess.PIPE,
            env=pipeline.environment_of(),
        ) as child:
            child.stdout.readline()
            time.sleep(moments.uniform(0, 0.05))
            os.kill(child.pid, signal.SIGKILL)

        found = json.loads(path.read_bytes())
        assert found["again"] == [found["number"]] * 20000


def test_equal_values_are_equal_bytes(tmp_path):
    write_json(tmp_path / "a", {"b": 1, "a": {"d": "é", "c": [1, 2]}})
    write_json(tmp_path / "b", {"a": {"c": [1, 2], "d": "é"}, "b": 1})

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_json(tmp_path / "a") == {"b": 1, "a": {"d": "é", "c": [1, 2]}}


def test_folders_are_made_and_nothing_temporary_stays(tmp_path):
    write_bytes(tmp_path / "a" / "b" / "file", b"123")

    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_a_place_that_cannot_be_written_is_named_and_what_was_there_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_text("kept")

    with pytest.raises(StorageError, match=r"folder: cannot be written: Is a directory"):
        write_bytes(tmp_path / "folder", b"123")

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "inside").read_text() == "kept"


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe"])
def test_a_damaged_json_file_is_a_storage_error(content, tmp_path):
    (tmp_path / "value.json").write_bytes(content)

    with pytest.raises(StorageError, match=r"value\.json: is damaged"):
        read_json(tmp_path / "value.json")


def test_a_missing_json_file_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"value\.json: is missing"):
        read_json(tmp_path / "value.json")


# Patience -----------------------------------------------------------------------------------------


@pytest.fixture
def pauses(monkeypatch):
    """A clock that only sleeping moves; the seconds that were slept."""
    slept = []
    monkeypatch.setattr(durable.time, "sleep", slept.append)
    monkeypatch.setattr(durable.time, "monotonic", lambda: sum(slept))
    return slept


def failing(faults):
    left = list(faults)

    def work():
        if left:
            raise left.pop(0)
        return "done"

    return work


def test_storage_in_trouble_is_waited_for_longer_and_longer(pauses):
    trouble = [OSError(errno.EIO, "Input/output error")] * 9

    assert patiently(failing(trouble), 900, "work") == "done"
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_patience_ends_with_a_storage_error_that_says_how_long_it_lasted(pauses):
    trouble = [OSError(errno.ESTALE, "Stale file handle")] * 99

    with pytest.raises(StorageError, match=r"work: Stale file handle; gave up after 31 s"):
        patiently(failing(trouble), 60, "work")


def test_the_error_names_the_file_that_was_in_trouble(pauses):
    denied = [PermissionError(errno.EACCES, "Permission denied", "/data/t.csv")] * 2

    with pytest.raises(StorageError, match=r"work: /data/t\.csv: Permission denied; gave up"):
        patiently(failing(denied), 0, "work")
    with pytest.raises(StorageError, match=r"^/data/t\.csv: Permission denied; gave up"):
        patiently(failing(denied), 0, "/data/t.csv")


def test_other_errors_are_not_waited_for(pauses):
    with pytest.raises(StorageError, match="No such file"):
        patiently(failing([OSError(errno.ENOENT, "No such file")]), 60, "work")
    with pytest.raises(ZeroDivisionError):
        patiently(failing([ZeroDivisionError()]), 60, "work")

    assert pauses == []


def test_an_error_that_does_not_come_from_the_system_passes_through():
    with pytest.raises(OSError, match="cannot identify image"):
        patiently(failing([OSError("cannot identify image")]), 60, "work")


def full_disk():
    with storing(durable.Path("shard")):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_storage_error_is_waited_for_where_the_system_is_in_trouble(pauses):
    tries = []

    def work():
        tries.append(None)
        if len(tries) < 3:
            full_disk()
        return "done"

    assert patiently(work, 60, "work") == "done"
    assert pauses == [1, 2]


def test_a_storage_error_stays_as_it_is_when_patience_ends(pauses):
    with pytest.raises(StorageError, match=r"^shard: cannot be written: No space left on device$"):
        patiently(full_disk, 10, "work")


def test_damage_is_not_waited_for(pauses):
    with pytest.raises(StorageError, match="damaged"):
        patiently(failing([StorageError("damaged")]), 60, "work")

    assert pauses == []


# Who may write -----------------------------------------------------------------------------------


def folder_of(mode, user=1, group=2):
    return durable.os.stat_result((0o040000 | mode, 0, 0, 1, user, group, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "user", "groups", "may"),
    [
        (0o755, 1, {9}, True),
        (0o555, 1, {2}, False),
        (0o755, 7, {2}, False),
        (0o775, 7, {2}, True),
        (0o2775, 7, {2, 3}, True),
        (0o775, 7, {3}, False),
        (0o707, 7, {2}, False),
        (0o777, 7, {3}, True),
        (0o000, 0, {0}, True),
    ],
)
def test_owner_group_and_mode_say_who_may_write(mode, user, groups, may):
    assert durable.may_write(folder_of(mode), user, groups) is may


@pytest.fixture
def another_user(monkeypatch):
    monkeypatch.setattr(durable.os, "geteuid", lambda: 4711)
    monkeypatch.setattr(durable.os, "getegid", lambda: 4711)
    monkeypatch.setattr(durable.os, "getgroups", list)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_folder_of_another_user_is_named_at_once(number, tmp_path, another_user, pauses):
    def work():
        with storing(tmp_path / "leases/part-00000"):
            raise OSError(number, "Permission denied")

    with pytest.raises(StorageError, match=f"{tmp_path} belongs to .*, mode 07.*; to share it"):
        patiently(work, 900, "work")
    assert pauses == []


def test_a_folder_that_one_may_write_to_is_waited_for(tmp_path, pauses):
    tries = []

    def work():
        tries.append(None)
        with storing(tmp_path / "shard"):
            if len(tries) == 1:
                raise OSError(errno.EACCES, "Permission denied")
        return "done"

    assert patiently(work, 900, "work") == "done"
    assert pauses == [1]


def test_a_read_only_file_system_is_not_waited_for(tmp_path, pauses):
    def work():
        with storing(tmp_path / "shard"):
            raise OSError(errno.EROFS, "Read-only file system")

    with pytest.raises(StorageError, match="shard: cannot be written: Read-only file system"):
        patiently(work, 900, "work")
    assert pauses == []


# Checksums ----------------------------------------------------------------------------------------


def test_a_checksum_is_over_all_other_members_in_any_order():
    value = durable.with_checksum({"b": 1.5, "a": [1, None, "é"]})

    assert durable.is_as_written({name: value[name] for name in sorted(value)})
    assert not durable.is_as_written(value | {"b": 1.25})
    assert not durable.is_as_written(value | {"c": 1})
    assert durable.is_as_written({"a": 1}), "files of earlier versions have none"
