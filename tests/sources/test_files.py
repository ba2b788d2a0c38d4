import builtins
import errno
import json
import os
from pathlib import Path

import pytest

from sampan.errors import InvalidSample, StorageError
from sampan.sources.files import SampleFiles, missing_folders


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        (tmp_path / "images" / f"{name}.png").write_bytes(name.encode() * 3)
    return tmp_path


def files_of(*roots: Path, max_bytes: int = 100, patience_seconds: float = 0) -> SampleFiles:
    return SampleFiles(list(roots), max_bytes, patience_seconds)


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Seconds that were waited, without waiting: the clock is set forward."""
    waited: list[float] = []
    monkeypatch.setattr("sampan.store.durable.time.monotonic", lambda: sum(waited))
    monkeypatch.setattr("sampan.store.durable.time.sleep", waited.append)
    return waited


def fail_opening(monkeypatch, number: int, times: int) -> None:
    """The next `times` files that are opened end in this error."""
    original, left = builtins.open, [times]

    def failing(path, *args, **kwargs):
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number), str(path))
        return original(path, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", failing)


def test_a_files_bytes_are_read_below_its_sources_root(folder):
    files = files_of(folder, folder / "images")

    assert files.read(0, "images/a.png") == b"aaa"
    assert files.read(1, "b.png") == b"bbb"


def test_every_bad_path_has_a_reason_that_a_person_understands(data):
    table = data / "odd/table/manifest_bad_paths.jsonl"
    cells = [json.loads(line)["image"] for line in table.read_text().splitlines()]
    files = files_of(data)

    reasons = {}
    for cell in filter(None, cells):
        try:
            files.read(0, cell)
        except InvalidSample as verdict:
            reasons[cell] = str(verdict)

    assert reasons == {
        "odd/image/does_not_exist.jpg": "missing file",
        "/etc/hostname": "absolute path: paths are relative to the table",
        "../../../etc/hostname": "path leaves its folder: set the source's root",
        "odd/image": "a folder, not a file",
        "https://example.invalid/x.jpg": "a URL, not a path: download it first",
        "odd\\image\\one_by_one.png": "missing file: folders are parted by /, not by \\",
    }


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("images/a.png/b", "missing file"),
        ("images\0/a.png", "unusable path: it has a NUL byte"),
        ("x" * 5000, "unusable path: File name too long"),
        ("images/\ud800.png", "unusable path: "),
        ("images/loop", "unusable path: "),
        ("", "a folder, not a file"),
        (".", "a folder, not a file"),
        ("images/../images/a.png", "path leaves its folder"),
    ],
)
def test_a_path_that_no_file_can_have_costs_one_sample(folder, cell, reason):
    (folder / "images/loop").symlink_to("loop")

    with pytest.raises(InvalidSample) as verdict:
        files_of(folder).read(0, cell)

    assert str(verdict.value).startswith(reason)


def test_a_file_that_is_too_large_is_not_read(folder):
    with pytest.raises(InvalidSample, match="file too large: 3 bytes; max_bytes is 2"):
        files_of(folder, max_bytes=2).read(0, "images/a.png")


def test_a_device_without_end_is_not_read_to_its_end(folder):
    (folder / "images/zero").symlink_to("/dev/zero")

    with pytest.raises(InvalidSample, match="file too large: above max_bytes, 100"):
        files_of(folder).read(0, "images/zero")


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT, errno.ENOTCONN]
)
def test_storage_in_trouble_is_waited_for(folder, monkeypatch, waits, number):
    fail_opening(monkeypatch, number, times=3)

    found = files_of(folder, patience_seconds=60).read(0, "images/a.png")

    assert found == b"aaa"
    assert waits == [1, 2, 4]


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_storage_that_stays_in_trouble_ends_the_job_and_quarantines_nothing(
    folder, monkeypatch, waits, number
):
    fail_opening(monkeypatch, number, times=1000)

    with pytest.raises(StorageError) as fault:
        files_of(folder, patience_seconds=60).read(0, "images/a.png")

    assert fault.value.faults == (
        f"{folder}/images/a.png: {os.strerror(number)}; gave up after 31 s",
    )


def test_a_root_that_is_gone_is_trouble_and_no_missing_file(folder, waits):
    gone = folder / "not-mounted"

    with pytest.raises(StorageError, match=r"the folder .*not-mounted is gone; gave up after"):
        files_of(gone, patience_seconds=5).read(0, "images/a.png")


def test_a_root_that_comes_back_is_read(folder, monkeypatch):
    away = folder.with_name("away")
    folder.rename(away)
    monkeypatch.setattr("sampan.store.durable.time.sleep", lambda _: away.rename(folder))

    assert files_of(folder, patience_seconds=60).read(0, "images/a.png") == b"aaa"


def test_a_folder_that_has_lost_its_files_is_trouble(folder):
    files = files_of(folder)
    files.read(0, "images/a.png")
    for path in (folder / "images").iterdir():
        path.unlink()

    with pytest.raises(StorageError, match="images has lost its files"):
        files.read(0, "images/b.png")


def test_a_file_that_is_missing_among_others_is_bad_data(folder):
    files = files_of(folder)
    files.read(0, "images/a.png")

    with pytest.raises(InvalidSample, match=r"^missing file$"):
        files.read(0, "images/c.png")


def test_folders_that_are_missing_or_empty_or_unreadable_are_told_from_missing_files(
    folder, monkeypatch
):
    files = files_of(folder)
    (folder / "empty").mkdir()

    assert not missing_folders(files, [(0, "images/c.png")])
    assert missing_folders(files, [(0, "images/c.png"), (0, "gone/c.png")])
    assert missing_folders(files, [(0, "empty/c.png")])
    monkeypatch.setattr(Path, "iterdir", _refuse)
    assert missing_folders(files, [(0, "images/c.png")])


def _refuse(path):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))
