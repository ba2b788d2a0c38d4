import asyncio
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
import strangers
from compute_tasks import surroundings
from distributed.comm.core import connect, listen

from sampan.compute import Grant, cluster, own_folder
from sampan.compute.sockets import PREFIX, host_of
from sampan.errors import StorageError

GRANT = Grant(threads=2, memory_mb=2048, gpus=2)
KINDS = ["threads", "processes", "one", "gpus"]


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        patch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        yield patch


@pytest.fixture(scope="module")
def shared(patch):
    """
    The temporary folder of a node, which others may write to, with a long and odd path; one of them
    has made what Dask would put there.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / ("a b:%2F[ü]" + "x" * 100)
        planted = folder / "dask-scratch-space"
        planted.mkdir(parents=True)
        (planted / "planted.py").write_text("raise SystemExit('of another user')")
        for path in (folder.parent, folder, planted):
            path.chmod(0o1777)
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module", params=KINDS)
def pool(request, shared):
    """A pool of each kind of workers on such a node."""
    before = list(sys.path)
    with cluster(GRANT, request.param) as pool:
        assert sys.path == before
        yield pool
    assert sys.path == before


def own(shared):
    """What a job, or several, have in the temporary folder."""
    return [path for path in shared.iterdir() if path.name != "dask-scratch-space"]


def results(pool):
    return [outcome.result for outcome in pool.run(surroundings, range(2))]


def test_another_user_can_speak_to_nothing_that_a_job_listens_to(pool, shared):
    assert len(results(pool)) == 2
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]

    ports, sockets = strangers.listening(processes)
    paths = [path for path in shared.rglob("*") if path.is_socket()]

    assert ports == []
    assert sockets == sorted(path.name for path in paths)  # none but those that are tried
    assert strangers.answers_to_other_users(paths) == dict.fromkeys(map(str, paths), "refused")


def test_a_job_has_one_folder_in_the_temporary_folder_which_only_its_user_can_open(pool, shared):
    (made,) = own(shared)

    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert made.stat().st_uid == os.geteuid()


def test_workers_import_from_nowhere_but_where_the_job_does(pool, shared):
    for found in results(pool):
        assert found["planted"] is None
        assert set(found["path"]) <= {*sys.path, os.getcwd(), ""}
        assert not [name for name in found["path"] if name.startswith(str(shared))]


def test_what_torch_compiles_lies_in_the_jobs_own_folder(pool, shared):
    (made,) = own(shared)

    assert {found["compiled"] for found in results(pool)} == {str(made / "compiled")}


def test_what_a_killed_job_leaves_is_closed_to_others_and_the_next_one_does_not_use_it(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "import sys, tempfile, time; tempfile.tempdir = sys.argv[1]\n"
        "from sampan.compute import Grant, cluster\n"
        "if __name__ == '__main__':\n"
        "    with cluster(Grant(threads=1, memory_mb=1000), 'one'):\n"
        "        print('ready', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None and job.stdout.readline() == "ready\n"
        job.kill()
    (left,) = tmp_path.iterdir()

    with own_folder() as another:
        assert not another.is_relative_to(left)
    assert list(tmp_path.iterdir()) == [left]
    assert stat.S_IMODE(left.stat().st_mode) == 0o700


# The folder ---------------------------------------------------------------------------------------


def test_a_file_system_that_cannot_keep_others_out_is_refused(shared, monkeypatch):
    mkdir = os.mkdir
    monkeypatch.setattr(os, "mkdir", lambda path, mode=0o777: (mkdir(path), os.chmod(path, 0o755)))

    with (
        pytest.raises(StorageError, match=r"is open to other users .* set TMPDIR to"),
        own_folder(),
    ):
        pass


def test_a_temporary_folder_that_cannot_be_written_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nothing")

    with pytest.raises(StorageError, match=r"/proc/nothing: cannot be written: .*; set TMPDIR"):
        cluster(GRANT, "processes").__enter__()


@pytest.mark.parametrize("swapped", ["opened", "linked", "stolen"])
def test_nothing_is_said_through_a_folder_that_is_no_longer_what_it_was(swapped, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)

    async def converse():
        listener = await listen(f"{PREFIX}{host_of(folder)}:0", None)
        if swapped == "opened":
            folder.chmod(0o755)
        else:
            folder.rename(tmp_path / "moved")
            if swapped == "linked":
                folder.symlink_to(tmp_path / "moved")
            else:
                folder.mkdir(mode=0o700)
        try:
            with pytest.raises(OSError, match="Timed out"):
                await connect(listener.contact_address, timeout=0.1)
        finally:
            listener.stop()

    asyncio.run(converse())
