import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from sampan.storage import lease
from sampan.storage.lease import Lease, Lost, attempts


class StandAside(Exception):
    pass


def stand_aside(holder):
    raise StandAside(str(holder))


def in_another_process(folder, seconds=60):
    """A process that holds the lease `part`, from the moment it says so."""
    code = (
        "import sys, time; from pathlib import Path; from sampan.storage.lease import Lease\n"
        "with Lease(Path(sys.argv[1]), 'part'):\n"
        "    print('held', flush=True); time.sleep(float(sys.argv[2]))"
    )
    words = [sys.executable, "-c", code, str(folder), str(seconds)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    return child


def test_a_lease_that_is_free_is_held_at_once_and_leaves_nothing_behind(tmp_path):
    with Lease(tmp_path, "part"):
        (held,) = attempts(tmp_path)

    assert held.name == "part" and held.alive
    assert list(tmp_path.iterdir()) == []


def test_a_second_attempt_waits_for_the_first(tmp_path):
    holder = in_another_process(tmp_path)

    with pytest.raises(StandAside), Lease(tmp_path, "part", waiting=stand_aside):
        pass

    assert [found.number for found in attempts(tmp_path)] == [1]
    holder.kill()
    holder.communicate()


def test_an_attempt_that_was_killed_is_not_waited_for(tmp_path):
    holder = in_another_process(tmp_path)
    holder.kill()
    holder.communicate()

    with Lease(tmp_path, "part", waiting=stand_aside):
        (held,) = attempts(tmp_path)

    assert held.number == 2


def test_another_hosts_attempt_is_dead_once_its_heartbeat_is_too_old(tmp_path):
    path = tmp_path / "part.000001.json"
    path.write_text('{"host": "n7", "process": "another boot 1 2", "job": "12", "since": 0}')

    (young,) = attempts(tmp_path)
    os.utime(path, (time.time(), time.time() - lease.STALE_SECONDS - 1))
    (old,) = attempts(tmp_path)

    assert young.alive and young.host == "n7" and young.job == "12"
    assert not old.alive
    with Lease(tmp_path, "part", waiting=stand_aside):
        assert [found.number for found in attempts(tmp_path)] == [2]


def test_an_attempt_that_cannot_be_read_counts_while_its_heartbeat_is_young(tmp_path):
    (tmp_path / "part.000001.json").write_bytes(b"")

    with pytest.raises(StandAside), Lease(tmp_path, "part", waiting=stand_aside):
        pass


def test_attempts_at_other_things_are_no_matter(tmp_path):
    with Lease(tmp_path, "part-00000"), Lease(tmp_path, "part-00001", waiting=stand_aside):
        names = [found.name for found in attempts(tmp_path)]

    assert sorted(names) == ["part-00000", "part-00001"]


def test_one_that_others_took_for_dead_learns_it_and_removes_nothing_of_theirs(tmp_path):
    with Lease(tmp_path, "part") as first:
        (held,) = attempts(tmp_path)
        held.path.unlink()  # as a waiting attempt does with a dead one
        with Lease(tmp_path, "part"), pytest.raises(Lost):
            first.check()
        held.path.touch()

    assert held.path.exists()


def test_who_takes_over_fences_the_dead_and_an_attempt_that_ends_leaves_nothing(tmp_path):
    leases, outboxes = tmp_path / "leases", tmp_path / "tmp"
    with Lease(leases, "part", outboxes=outboxes) as first:
        (held,) = attempts(leases)
        os.utime(held.path, (0, 0))
        with Lease(leases, "part", outboxes=outboxes) as second:
            assert list(outboxes.iterdir()) == [second.outbox]
            with pytest.raises(Lost):
                first.check()

    assert list(outboxes.iterdir()) == list(leases.iterdir()) == []


def test_an_attempt_that_was_fenced_while_it_registered_learns_it_when_its_turn_comes(
    tmp_path, monkeypatch
):
    leases, outboxes = tmp_path / "leases", tmp_path / "tmp"
    create = os.open

    def frozen(path, *words, **more):
        if "leases" in str(path):  # another one comes, works, and ends, before this one's lease
            monkeypatch.setattr(os, "open", create)
            with Lease(leases, "part", outboxes=outboxes):
                pass
        return create(path, *words, **more)

    monkeypatch.setattr(os, "open", frozen)

    with pytest.raises(Lost), Lease(leases, "part", outboxes=outboxes):
        pass

    assert list(outboxes.iterdir()) == list(leases.iterdir()) == []


def test_those_who_wait_are_not_fenced(tmp_path):
    leases, outboxes = tmp_path / "leases", tmp_path / "tmp"
    with Lease(leases, "part", outboxes=outboxes) as first:
        began = threading.Event()
        held = []

        def wait():
            with Lease(leases, "part", lambda holder: began.set(), outboxes) as second:
                held.append(second.outbox.is_dir())

        thread = threading.Thread(target=wait)
        thread.start()
        assert began.wait(10)
        assert len(list(outboxes.iterdir())) == 2
        assert first.outbox.is_dir()
    thread.join()

    assert held == [True]


def test_a_holder_touches_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.01)

    with Lease(tmp_path, "part"):
        (held,) = attempts(tmp_path)
        os.utime(held.path, (0, 0))
        deadline = time.monotonic() + 10
        while held.path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        touched = held.path.stat().st_mtime

    assert touched > 0


def test_a_stopped_process_is_alive_until_its_heartbeat_is_too_old(tmp_path):
    holder = in_another_process(tmp_path)
    holder.send_signal(signal.SIGSTOP)

    (held,) = attempts(tmp_path)

    assert held.alive
    holder.kill()
    holder.communicate()


def hold(folder, log, times):
    for _ in range(times):
        with Lease(folder, "part"), log.open("a") as file:
            file.write("in ")
            file.flush()
            time.sleep(0.002)
            file.write("out ")


def test_many_attempts_at_once_never_hold_it_together(tmp_path, monkeypatch):
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: None)
    log = tmp_path / "log"
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=hold, args=(tmp_path / "x", log, 20)) for _ in range(4)]

    for child in children:
        child.start()
    for child in children:
        child.join()

    assert log.read_text() == "in out " * 80


def test_no_folder_is_no_attempt(tmp_path):
    assert attempts(tmp_path / "nothing") == []
