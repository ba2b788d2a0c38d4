import contextlib
import errno
import json
import os
import socket
import threading
from pathlib import Path
from unicodedata import normalize

import pytest

from sampan.errors import InvalidSample, StorageError
from sampan.sources import files as reading
from sampan.sources.files import DeniedFile, MissingFile, SampleFiles, missing_folders


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        (tmp_path / "images" / f"{name}.png").write_bytes(name.encode() * 3)
    return tmp_path


def files_of(
    *roots: Path, max_bytes: int = 100, patience_seconds: float = 0, allow: tuple[Path, ...] = ()
) -> SampleFiles:
    allowed = [[str(folder) for folder in allow]] * len(roots)
    return SampleFiles(list(roots), max_bytes, patience_seconds, allowed)


def reason(files: SampleFiles, cell: str) -> str:
    with pytest.raises(InvalidSample) as verdict:
        files.read(0, cell)
    return str(verdict.value)


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Seconds that were waited, without waiting: the clock is set forward."""
    waited: list[float] = []
    monkeypatch.setattr("sampan.storage.durable.time.monotonic", lambda: sum(waited))
    monkeypatch.setattr("sampan.storage.durable.time.sleep", waited.append)
    return waited


def fail_opening(monkeypatch, number: int, times: int) -> None:
    """The next `times` files that are opened end in this error."""
    original, left = os.open, [times]

    def failing(path, *args, **kwargs):
        if left[0] and str(path).endswith(".png"):
            left[0] -= 1
            raise OSError(number, os.strerror(number), str(path))
        return original(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", failing)


def test_a_files_bytes_are_read_below_its_sources_root(folder):
    files = files_of(folder, folder / "images")

    assert files.read(0, "images/a.png").data == b"aaa"
    assert files.read(1, "b.png").data == b"bbb"


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
        "/etc/hostname": "absolute path, see allow: allow: [/etc] on the source lets it be read",
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


def test_what_is_no_file_costs_one_sample_and_no_time(folder, monkeypatch, waits):
    images = folder / "images"
    os.mkfifo(images / "fifo")
    monkeypatch.chdir(images)  # a socket's path may have 107 bytes
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    (images / "to-fifo").symlink_to("fifo")
    (images / "zero").symlink_to("/dev/zero")
    (images / "up").symlink_to("..")
    files = files_of(folder, patience_seconds=900, allow=(Path("/dev"),))

    found = {
        name: reason(files, f"images/{name}") for name in os.listdir(images) if "." not in name
    }

    assert found == {
        "fifo": "a FIFO, not a file",
        "socket": "a socket, not a file",
        "to-fifo": "a FIFO, not a file",
        "zero": "a device, not a file",
        "up": "a folder, not a file",
    }
    assert waits == []


def test_a_process_that_waits_to_write_into_a_fifo_is_left_alone_or_told_but_never_read(folder):
    os.mkfifo(folder / "images/fifo")
    writer = threading.Thread(target=write_quietly, args=[folder / "images/fifo"], daemon=True)
    writer.start()

    assert reason(files_of(folder), "images/fifo") == "a FIFO, not a file"


def write_quietly(path):
    with contextlib.suppress(BrokenPipeError):
        path.write_bytes(b"secret")


def test_a_file_system_that_tells_no_sizes_is_read_within_the_limit():
    files = files_of(Path("/proc/self"), max_bytes=10_000)

    assert files.read(0, "status").data.startswith(b"Name:")
    assert reason(files_of(Path("/proc/self"), max_bytes=9), "status").startswith("file too large")
    assert reason(files, "mem").startswith("not a plain file: ")


# Links and absolute paths -------------------------------------------------------------------------


@pytest.fixture
def farm(tmp_path) -> Path:
    """`root`, with links to `tier`, which lies beside it."""
    tier, root = tmp_path / "tier", tmp_path / "root"
    (tier / "deep").mkdir(parents=True)
    root.mkdir()
    (tier / "deep/a.png").write_bytes(b"aaa")
    (root / "file.png").symlink_to(tier / "deep/a.png")
    (root / "folder").symlink_to(tier / "deep")
    (root / "twice").symlink_to("folder")
    return tmp_path


@pytest.mark.parametrize(
    ("cell", "link", "target"),
    [
        ("file.png", "file.png", "tier/deep/a.png"),
        ("folder/a.png", "folder", "tier/deep"),
        ("folder/none.png", "folder", "tier/deep"),
        ("twice/a.png", "twice", "tier/deep"),
    ],
)
def test_a_link_out_of_the_root_is_refused_and_the_reason_says_what_would_let_it(
    farm, cell, link, target
):
    assert reason(files_of(farm / "root"), cell) == (
        f"link out of the source's folders, see allow: {link} leads to {farm}/{target}; "
        f"allow: [{farm}/tier/deep] on the source lets it be read"
    )


@pytest.mark.parametrize("cell", ["file.png", "folder/a.png", "twice/a.png"])
@pytest.mark.parametrize("allowed", ["tier", "tier/deep", "by-link"])
def test_links_into_a_folder_that_is_allowed_are_read(farm, cell, allowed):
    (farm / "by-link").symlink_to("tier")

    assert files_of(farm / "root", allow=(farm / allowed,)).read(0, cell).data == b"aaa"


def test_a_folder_whose_name_only_begins_like_the_allowed_one_is_not_allowed(farm):
    (farm / "tier-two").mkdir()
    (farm / "tier-two/a.png").write_bytes(b"no")
    (farm / "root/sly.png").symlink_to(farm / "tier-two/a.png")

    assert reason(files_of(farm / "root", allow=(farm / "tier",)), "sly.png").startswith("link out")


def test_links_within_the_root_and_a_root_that_is_a_link_are_read(folder):
    (folder / "images/c.png").symlink_to("a.png")
    (folder / "here").symlink_to("images")
    (folder / "as-root").symlink_to(folder)

    assert files_of(folder).read(0, "images/c.png").data == b"aaa"
    assert files_of(folder).read(0, "here/c.png").data == b"aaa"
    assert files_of(folder / "as-root").read(0, "images/b.png").data == b"bbb"


def test_a_link_that_leads_nowhere_is_a_missing_file_where_it_leads(farm):
    (farm / "root/broken.png").symlink_to(farm / "tier/gone/b.png")
    files = files_of(farm / "root", allow=(farm / "tier",))

    with pytest.raises(MissingFile) as verdict:
        files.read(0, "broken.png")

    assert verdict.value.path == f"{farm}/tier/gone/b.png"
    assert missing_folders([verdict.value.path]), "the tier may be away"


def test_a_folder_that_is_exchanged_for_a_link_after_it_was_looked_at_is_not_followed(farm):
    (farm / "root/images").mkdir()
    (farm / "root/images/a.png").write_bytes(b"own")
    files = files_of(farm / "root")
    files.read(0, "images/a.png")
    (farm / "root/images").rename(farm / "root/old")
    (farm / "root/images").symlink_to(farm / "tier/deep")

    assert reason(files, "images/a.png").startswith("link out of the source's folders")


def test_an_absolute_path_is_read_only_below_a_folder_that_is_allowed(farm):
    cell = f"{farm}/tier/deep/a.png"

    assert files_of(farm / "root", allow=(farm / "tier",)).read(0, cell).data == b"aaa"
    for allow in [(), (farm / "root",), (farm / "tier/other",)]:
        assert reason(files_of(farm / "root", allow=allow), cell) == (
            f"absolute path, see allow: allow: [{farm}/tier/deep] on the source lets it be read"
        )


def test_a_cell_that_is_no_path_at_all_says_what_it_is(folder):
    files = files_of(folder)

    assert reason(files, "data:image/png;base64,iVBORw0KGgo=").startswith("a data: URI, not a path")
    assert reason(files, "/9j/" + "A" * 9000).startswith("base64, not a path: set cell: base64")


# Unicode forms ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_file_whose_name_is_in_another_unicode_form_is_found_and_noted(folder, given, there):
    path = folder / normalize(there, "été") / normalize(given, "à") / normalize(there, "ñandú.png")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"found")
    files = files_of(folder)

    found = files.read(0, normalize(given, "été/à/ñandú.png"))

    assert found == (b"found", ("found under another Unicode form of its name",))
    assert files.read(0, "images/a.png").notes == ()


def test_of_two_files_that_differ_in_form_alone_each_is_found_under_its_own_name(folder):
    for form in ("NFC", "NFD"):
        (folder / normalize(form, "é.png")).write_bytes(form.encode())
    files = files_of(folder)

    assert [files.read(0, normalize(form, "é.png")) for form in ("NFC", "NFD")] == [
        (b"NFC", ()), (b"NFD", ()),
    ]  # fmt: skip
    assert reason(files, "ö.png") == "missing file"


# Files that do not rest ---------------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_read_is_read_again(folder, monkeypatch):
    path = folder / "images/a.png"
    before_each_read(monkeypatch, [lambda: path.write_bytes(b"a longer one")])

    assert files_of(folder).read(0, "images/a.png").data == b"a longer one"


def test_a_file_that_does_not_stop_to_change_costs_one_sample(folder, monkeypatch):
    path = folder / "images/a.png"
    sizes = iter((1, 9, 2, 8, 3, 7, 4))
    changes = [lambda: path.write_bytes(b"x" * next(sizes))] * 9
    before_each_read(monkeypatch, changes)

    assert reason(files_of(folder), "images/a.png").startswith("it changes while it is read: ")


def test_a_file_that_storage_has_to_fetch_first_is_waited_for(folder, monkeypatch):
    original = os.read

    def read(handle, size):
        if not os.get_blocking(handle):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return original(handle, size)

    monkeypatch.setattr(reading.os, "read", read)

    assert files_of(folder).read(0, "images/a.png").data == b"aaa"


def before_each_read(monkeypatch, changes):
    original, left = os.read, list(changes)

    def change_and_read(handle, size):
        if left:
            left.pop(0)()
        return original(handle, size)

    monkeypatch.setattr(reading.os, "read", change_and_read)


# Storage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_file_that_alone_may_not_be_read_costs_one_sample_at_once(
    folder, monkeypatch, waits, number
):
    fail_opening(monkeypatch, number, times=1)
    files = files_of(folder, patience_seconds=60)

    with pytest.raises(DeniedFile, match="permission denied: this job's user may not read it"):
        files.read(0, "images/a.png")

    assert files.read(0, "images/b.png").data == b"bbb"
    assert waits == []


def test_a_root_that_may_not_be_read_is_storage_in_trouble(folder, monkeypatch, waits):
    fail_opening(monkeypatch, errno.EACCES, times=1000)
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(StorageError, match="Permission denied; gave up after"):
        files_of(folder, patience_seconds=60).read(0, "images/a.png")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN])
def test_storage_in_trouble_is_waited_for(folder, monkeypatch, waits, number):
    fail_opening(monkeypatch, number, times=3)

    found = files_of(folder, patience_seconds=60).read(0, "images/a.png")

    assert found.data == b"aaa"
    assert waits == [1, 2, 4]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOTCONN])
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
    monkeypatch.setattr("sampan.storage.durable.time.sleep", lambda _: away.rename(folder))

    assert files_of(folder, patience_seconds=60).read(0, "images/a.png").data == b"aaa"


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
    (folder / "empty").mkdir()
    there, gone, empty = (f"{folder}/{name}/c.png" for name in ("images", "gone", "empty"))

    assert not missing_folders([there])
    assert missing_folders([there, gone])
    assert missing_folders([empty])
    monkeypatch.setattr(Path, "iterdir", _refuse)
    assert missing_folders([there])


def _refuse(path):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))
