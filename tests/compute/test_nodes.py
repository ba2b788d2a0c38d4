import os

import pytest
from compute_tasks import work

from sampan.compute import Grant, WorkerDied, cluster
from sampan.errors import ConfigError

GRANT = Grant(threads=2, memory_mb=2048)


def outcomes(pool, *tasks):
    return {outcome.task: outcome for outcome in pool.run(work, tasks)}


@pytest.fixture
def deaths(tmp_path, monkeypatch):
    """A folder; each file in it, and each that is made, kills a worker before it is up."""
    folder = tmp_path / "deaths"
    folder.mkdir()
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if 'spawn_main' in ' '.join(sys.orig_argv):\n"
        f"    for name in os.listdir({str(folder)!r}):\n"
        "        try:\n"
        f"            os.unlink(os.path.join({str(folder)!r}, name))\n"
        "        except FileNotFoundError:\n"
        "            continue\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    paths = filter(None, [str(site), os.environ.get("PYTHONPATH")])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return folder


def kill(deaths, count):
    for i in range(count):
        (deaths / str(i)).touch()


@pytest.mark.parametrize("workers", ["processes", "one"])
def test_a_worker_that_is_killed_while_it_starts_is_started_again(workers, deaths):
    kill(deaths, 2)

    with cluster(GRANT, workers) as pool:
        found = outcomes(pool, "a", "b", "c")

    assert {task: outcome.result for task, outcome in found.items()} == {t: t for t in "abc"}
    assert list(deaths.iterdir()) == []


def test_one_that_is_killed_while_it_starts_again_loses_no_task(deaths):
    with cluster(GRANT, "processes") as pool:
        kill(deaths, 3)
        found = outcomes(pool, "kill 1", "a", "b", "kill 2", "c")

    assert all(isinstance(found.pop(task).fault, WorkerDied) for task in ("kill 1", "kill 2"))
    assert {task: outcome.result for task, outcome in found.items()} == {t: t for t in "abc"}
    assert list(deaths.iterdir()) == []


NEVER = (
    r"a worker of this job dies while it starts, 4 times in a row; the last was killed by SIGKILL, "
    r"most likely for memory; it has 2,048 MB of memory, of 2,048 MB granted for 1; raise mem_mb"
)


def test_workers_that_never_start_end_the_job_with_their_signal_and_their_memory(deaths):
    kill(deaths, 100)

    with pytest.raises(ConfigError, match=NEVER), cluster(GRANT, "one"):
        pass


def test_a_worker_that_never_starts_again_ends_the_job_likewise(deaths):
    with cluster(GRANT, "one") as pool:
        kill(deaths, 100)

        with pytest.raises(ConfigError, match=NEVER):
            outcomes(pool, "kill", "a", "b")
