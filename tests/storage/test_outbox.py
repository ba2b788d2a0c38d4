import errno
import os
import threading
import time
from functools import partial

import pytest
from store.test_ledger import keys, record

from sampan.errors import StorageError
from sampan.storage import outbox
from sampan.storage.durable import write_bytes
from sampan.store import ledger
from sampan.store.ledger import LedgerWriter


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tmp"


@pytest.fixture
def ledgers(tmp_path):
    return tmp_path / "ledger"


@pytest.fixture
def sleeper(folder, ledgers):
    """The outbox and the ledger of an attempt that has recorded a shard, and has another ready."""
    own = outbox.make(folder, "part-00000", 1)
    attempt = LedgerWriter(ledgers, 0, 64, own)
    attempt.append(record(1))
    (own / "image.2.partial").write_bytes(b"old")
    with attempt:
        yield own, attempt


def successor(folder, ledgers, number=2):
    own = outbox.make(folder, "part-00000", number)
    outbox.fence(own, partial(ledger.seal, ledgers))
    return own


def test_nothing_that_a_sleeper_does_after_the_fence_can_be_seen(
    sleeper, folder, ledgers, tmp_path
):
    own, attempt = sleeper
    target, kept = tmp_path / "c.2", tmp_path / "kept"
    for path in (target, kept):
        path.write_bytes(b"new")

    successor(folder, ledgers)

    attempt.append(record(2))  # to a file without a name
    assert keys(ledgers) == {1: ["k"]}
    with pytest.raises(FileNotFoundError):
        os.replace(own / "image.2.partial", target)
    for late in (
        lambda: write_bytes(target, b"old", own),
        lambda: outbox.discard(kept, own),
        lambda: outbox.discard(tmp_path / "not there", own),
        lambda: LedgerWriter(ledgers, 0, 64, own),
    ):
        with pytest.raises(StorageError, match="No such file"):
            late()
    assert keys(ledgers) == {1: ["k"]}
    assert target.read_bytes() == kept.read_bytes() == b"new"


def test_what_was_recorded_keeps_its_rank_among_the_ledgers(sleeper, folder, ledgers):
    ledger.forget(ledgers, [1], rows_per_shard=8)

    successor(folder, ledgers)

    assert keys(ledgers) == {}


def test_a_torn_line_is_not_sealed(sleeper, folder, ledgers):
    _, attempt = sleeper
    attempt._file.write(b'{"shard": 2, "ke')

    successor(folder, ledgers)

    (file,) = ledgers.rglob("*.jsonl")
    assert file.read_bytes() == record(1).line()


def test_the_outboxes_of_others_are_left_alone(folder, ledgers):
    others = [
        outbox.make(folder, "part-00001", 1),
        outbox.make(folder, "part-00000", 3),  # of one that waits
        outbox.make(folder, "part-000", 1),
    ]

    own = successor(folder, ledgers)

    assert sorted(folder.iterdir()) == sorted([*others, own])


def test_the_fence_holds_against_a_sleeper_that_goes_on_making_files(folder, ledgers):
    dead = outbox.make(folder, "part-00000", 1)
    handle = os.open(dead, os.O_RDONLY)  # as a node knows a folder that it has looked up before
    made = []

    def go_on():
        try:
            while len(made) < 10_000:
                name = f"{len(made)}"
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=handle))
                made.append(name)
                time.sleep(0.0005)
        except FileNotFoundError:
            return

    thread = threading.Thread(target=go_on)
    thread.start()
    while not made:
        time.sleep(0.001)
    own = successor(folder, ledgers)
    thread.join()
    os.close(handle)

    assert list(folder.iterdir()) == [own]
    assert len(made) < 10_000


class Killed(BaseException):
    pass


CALLS = ("mkdir", "rename", "replace", "unlink", "rmdir", "fsync")


def dying(monkeypatch, after):
    """Lets so many calls to the file system happen, and dies before the next."""
    left = [after]

    def counted(call):
        def dies(*words, **more):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return call(*words, **more)

        return dies

    for name in CALLS:
        monkeypatch.setattr(os, name, counted(getattr(os, name)))


@pytest.mark.parametrize("calls", range(14))
def test_a_successor_that_dies_half_way_is_gone_on_with_and_no_record_is_lost(
    calls, sleeper, folder, ledgers, monkeypatch
):
    own, attempt = sleeper
    second = outbox.make(folder, "part-00000", 2)
    with monkeypatch.context() as patch:
        dying(patch, calls)
        try:
            outbox.fence(second, partial(ledger.seal, ledgers))
            died = False
        except Killed:
            died = True
    assert keys(ledgers) in ({1: ["k"]}, {1: ["k", "k"]})

    third = successor(folder, ledgers, 3)
    attempt.append(record(2))

    assert died == (calls < 11)
    assert keys(ledgers) == {1: ["k"]}
    assert list(folder.iterdir()) == [third]
    assert not second.exists()  # had it been no more than frozen, it would be fenced
    with pytest.raises(FileNotFoundError):
        os.replace(own / "image.2.partial", folder / "c.2")


def test_files_that_this_machine_has_open_on_nfs_do_not_keep_the_successor_waiting(
    sleeper, folder, ledgers, monkeypatch
):
    own, _ = sleeper
    (own / "image.2.partial").rename(own / ".nfs0001")
    unlink = os.unlink

    def silly(path, **more):
        if ".nfs" in str(path):
            raise OSError(errno.EBUSY, "Device or resource busy", path)
        unlink(path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", silly)
        second = successor(folder, ledgers)
    third = successor(folder, ledgers, 3)

    assert not own.exists() and not second.exists()
    assert list(folder.iterdir()) == [third]


def test_numbers_go_on_above_those_of_the_dead(folder):
    assert outbox.last_number(folder, "part-00000") == 0
    outbox.make(folder, "part-00000", 7)
    outbox.make(folder, "part-00001", 9)
    (folder / "image.0.abcd.partial").touch()

    assert outbox.last_number(folder, "part-00000") == 7
