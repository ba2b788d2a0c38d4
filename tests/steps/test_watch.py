import os
import subprocess
import sys
import time

import pipeline
import pytest

from sampan.errors import ConfigError
from sampan.steps import watch
from sampan.storage import lease
from sampan.storage.lease import Lease, attempts

SQUEUE = """#!/bin/sh
cat "$SLURM_FOLDER/squeue"
"""
SCONTROL = """#!/bin/sh
echo "$@" >> "$SLURM_FOLDER/asked"
echo "MinJobAge               = 300 sec"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A squeue that prints the file `squeue`, and a scontrol that notes what it is asked."""
    for name, script in {"squeue": SQUEUE, "scontrol": SCONTROL}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_FOLDER", str(tmp_path))
    (tmp_path / "asked").touch()
    return tmp_path


def queue(slurm, *jobs, folder="/here", submitted=2_000_000_000, reason="None"):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(submitted))
    lines = [f"{number}|{state}|{stamp}|{reason}|{folder}\n" for number, state in jobs]
    (slurm / "squeue").write_text("".join(lines))


def started(results):
    """`sampan watch` in a process of its own, once it has said that it is ready."""
    child = subprocess.Popen(
        [sys.executable, "-m", "sampan.cli", "watch", "--results", str(results)],
        env=pipeline.environment_of(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "ready\n"
    return child


def test_it_holds_the_results_until_its_standard_input_ends(tmp_path):
    child = started(tmp_path)
    (held,) = [(found.name, found.alive) for found in attempts(tmp_path / "leases")]

    _, said = child.communicate()

    assert held == ("run", True)
    assert (child.returncode, said) == (0, "")
    assert attempts(tmp_path / "leases") == []


def test_a_second_run_on_the_same_results_is_refused_with_what_to_set(tmp_path):
    with Lease(tmp_path / "leases", "run"):
        ran = pipeline.sampan("watch", "--results", str(tmp_path))

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"error: {tmp_path}: another Snakemake is at work on it")
    assert "set `results:` to another folder" in ran.stderr


def test_a_run_elsewhere_is_refused_once_its_heart_beats(tmp_path):
    path = tmp_path / "leases/run.000001.json"
    path.parent.mkdir()
    path.write_text('{"host": "n7", "process": "another boot 1 2", "job": "", "since": 0}')
    refusal = watch._Refusal(tmp_path)
    refusal(attempts(path.parent)[0])
    refusal(attempts(path.parent)[0])
    os.utime(path, (time.time() + 10, time.time() + 10))

    with pytest.raises(ConfigError, match="another Snakemake is at work on it: n7"):
        refusal(attempts(path.parent)[0])


def test_a_run_elsewhere_that_was_killed_is_waited_out(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "STALE_SECONDS", 1.5)
    path = tmp_path / "leases/run.000001.json"
    path.parent.mkdir()
    path.write_text('{"host": "n7", "process": "another boot 1 2", "job": "", "since": 0}')

    with Lease(path.parent, "run", watch._Refusal(tmp_path)):
        (held,) = attempts(path.parent)

    assert held.number == 2


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL"])
def test_a_job_that_slurm_leaves_lying_is_put_back_into_the_queue(state, slurm):
    queue(slurm, ("11", "RUNNING"), ("12", state))

    watch.JobWatch("/here", since=0).look()

    assert (slurm / "asked").read_text() == "requeue 12\n"


def test_a_job_that_could_not_be_begun_is_released_a_few_times(slurm):
    queue(slurm, ("11", "PENDING"), reason="launch failed requeued held")
    looking = watch.JobWatch("/here", since=0)

    for _ in range(watch.RELEASES + 2):
        looking.look()

    assert (slurm / "asked").read_text() == "release 11\n" * watch.RELEASES


@pytest.mark.parametrize(
    "other", [{"folder": "/elsewhere"}, {"submitted": 1_000_000_000}], ids=["folder", "time"]
)
def test_jobs_of_other_runs_are_left_alone(other, slurm):
    queue(slurm, ("12", "PREEMPTED"), **other)

    watch.JobWatch("/here", since=1_500_000_000).look()

    assert (slurm / "asked").read_text() == ""


def test_a_job_that_slurm_forgot_ends_the_run(slurm, monkeypatch):
    ended = []
    monkeypatch.setattr(watch.os, "kill", lambda process, number: ended.append(process))
    monkeypatch.setattr(watch, "FORGOTTEN_SECONDS", 0.0)
    looking = watch.JobWatch("/here", since=0)
    queue(slurm, ("11", "RUNNING"), ("12", "RUNNING"))
    looking.look()
    queue(slurm, ("11", "COMPLETED"))

    looking.look()

    assert ended == [os.getppid()]


def test_a_run_that_missed_the_end_of_all_its_jobs_is_ended(slurm, monkeypatch):
    ended = []
    monkeypatch.setattr(watch.os, "kill", lambda process, number: ended.append(process))
    monkeypatch.setattr(watch, "FORGOTTEN_SECONDS", 0.0)
    monkeypatch.setattr(watch, "_works_itself", lambda: False)
    looking = watch.JobWatch("/here", since=0)
    queue(slurm, ("11", "COMPLETED"), ("12", "RUNNING"))
    looking.look()
    looking.look()
    assert ended == []
    queue(slurm, ("11", "COMPLETED"), ("12", "COMPLETED"))

    looking.look()

    assert ended == [os.getppid()]


def test_a_snakemake_that_works_itself_has_missed_nothing(slurm, monkeypatch):
    monkeypatch.setattr(watch.os, "kill", lambda *_: pytest.fail("the run was ended"))
    monkeypatch.setattr(watch, "FORGOTTEN_SECONDS", 0.0)
    monkeypatch.setattr(watch.os, "getppid", os.getpid)  # this test's process is the Snakemake
    looking = watch.JobWatch("/here", since=0)
    queue(slurm, ("11", "COMPLETED"))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE):
        looking.look()
        looking.look()


def test_a_job_that_was_seen_to_end_may_be_forgotten(slurm, monkeypatch):
    monkeypatch.setattr(watch, "_works_itself", lambda: True)
    monkeypatch.setattr(watch.os, "kill", lambda *_: pytest.fail("the run was ended"))
    monkeypatch.setattr(watch, "FORGOTTEN_SECONDS", 0.0)
    looking = watch.JobWatch("/here", since=0)
    queue(slurm, ("11", "RUNNING"))
    looking.look()
    queue(slurm, ("11", "COMPLETED"))
    looking.look()
    queue(slurm)

    looking.look()
    looking.look()


def test_a_slurm_that_does_not_answer_is_waited_for(slurm, monkeypatch):
    monkeypatch.setattr(watch.os, "kill", lambda *_: pytest.fail("the run was ended"))
    monkeypatch.setattr(watch, "FORGOTTEN_SECONDS", 0.0)
    looking = watch.JobWatch("/here", since=0)
    queue(slurm, ("11", "RUNNING"))
    looking.look()
    (slurm / "squeue").unlink()

    looking.look()
    looking.look()
