import errno
import os

import pytest

from sampan.operations.doctor.storage import file_system, try_storage


def refuse(number):
    def call(*args, **settings):
        raise OSError(number, os.strerror(number))

    return call


def test_a_good_folder_has_no_faults_and_keeps_nothing(tmp_path):
    found = try_storage(tmp_path / "doctor", "train")

    assert found["faults"] == []
    assert abs(found["clock_seconds"]) < 1
    assert found["free_bytes"] == pytest.approx(
        os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize, rel=0.1
    )
    assert list((tmp_path / "doctor").iterdir()) == []


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("fsync", "fsync: Input/output error"),
        ("replace", "rename: Input/output error"),
        ("link", "hard link: Input/output error"),
    ],
)
def test_what_the_file_system_refuses_is_named(tmp_path, monkeypatch, call, fault):
    monkeypatch.setattr(os, call, refuse(errno.EIO))

    found = try_storage(tmp_path, "train")

    assert found["faults"] == [fault]
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_creates_a_file_twice_is_found_out(tmp_path, monkeypatch):
    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, flags: opened(path, flags & ~os.O_EXCL))

    found = try_storage(tmp_path, "train")

    assert found["faults"] == ["exclusive creation: a file that exists was created again"]


@pytest.mark.parametrize("skew", [-300.0, 300.0])
def test_a_clock_that_is_ahead_or_behind_is_measured(tmp_path, monkeypatch, skew):
    from sampan.operations.doctor import storage as doctor_storage

    now = doctor_storage.time.time
    monkeypatch.setattr(doctor_storage.time, "time", lambda: now() - skew)

    found = try_storage(tmp_path, "train")

    assert found["clock_seconds"] == pytest.approx(skew, abs=2)


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path):
    (tmp_path / "file").write_text("")

    found = try_storage(tmp_path / "file" / "doctor", "train")

    assert found["faults"] == ["cannot be made: Not a directory"]


def test_the_type_is_that_of_the_innermost_mount(tmp_path):
    mounts = tmp_path / "mounts"
    here = str(tmp_path.resolve()).replace(" ", "\\040")
    mounts.write_text(
        f"/dev/a / ext4 rw 0 0\nfs:/p {here} lustre rw 0 0\nx {here}/no tmpfs rw 0 0\n"
    )

    assert file_system(tmp_path, mounts) == "lustre"
    assert file_system(tmp_path.parent, mounts) == "ext4"
