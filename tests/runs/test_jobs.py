from pathlib import Path

import pytest
from told import FAILED, STARTED, STOPPED, progressed

from sampan.runs.events import Events, Said
from sampan.runs.jobs import Moment, judge, judge_all, span
from sampan.runs.log import Log
from sampan.storage.lease import Attempt

NOW = 1_000_000.0
PATH = Path("part-00000.log")
WORKING = "2026-01-02 03:04:15 INFO preprocess t@0: 10 of 40 samples (5/s, 6 s left)"
AT_WORK = Events([Said(STARTED, NOW - 400), Said(progressed(10, 5.0), NOW - 300)])


def attempt(age_seconds, *, number=1, name="part-00000", since=NOW - 500, job=""):
    """Of another machine, so that only its heartbeat tells whether it is alive."""
    about = {"name": name, "number": number, "path": PATH, "since": since, "job": job}
    about["touched"] = NOW - age_seconds
    return Attempt(age_seconds=age_seconds, host="n7", **about)


def log(*lines, age_seconds=300, said=()):
    """Of a job that is at work, or of one that said this last."""
    events = Events([*AT_WORK.said, *(Said(event, NOW - age_seconds) for event in said)])
    return Log(path=PATH, written=NOW - age_seconds, lines=lines, events=events)


def run(since):
    """A moment at which a Snakemake is at work that began so many seconds ago."""
    return Moment(now=NOW, runs=(attempt(1, name="run", since=NOW - since),))


ALONE = Moment(now=NOW)
DEAD_RUN = Moment(now=NOW, runs=(attempt(1000, name="run"),))


def state(found_log=None, attempts=(), moment=ALONE, *, leased=True):
    return judge("part-00000", PATH, found_log, attempts, moment, leased=leased).state


def test_a_job_that_never_began_waits():
    assert state() == "waiting"


def test_a_job_with_a_heartbeat_is_running_whatever_its_log_says():
    assert state(None, [attempt(5)]) == "running"
    assert state(log("error: of the attempt before", said=[FAILED]), [attempt(5)]) == "running"


def test_a_running_job_has_the_rate_that_its_events_say():
    job = judge("part-00000", PATH, log(WORKING), [attempt(5)], ALONE, leased=True)

    assert job.samples_per_second == 5


def test_a_job_without_a_heartbeat_for_two_minutes_was_killed():
    job = judge("part-00000", PATH, log(WORKING), [attempt(300, job="12")], ALONE, leased=True)

    assert job.state == "failed"
    assert job.why == "was killed on n7 (Slurm job 12) 5 min ago; run the same command again"
    assert job.lines == (WORKING,)


def test_a_killed_job_runs_again_by_itself_while_snakemake_is_at_work():
    job = judge("part-00000", PATH, None, [attempt(300)], run(since=900), leased=True)

    assert "runs again by itself" in job.why


def test_one_dead_attempt_beside_a_live_one_is_no_failure():
    assert state(None, [attempt(300), attempt(5, number=2)]) == "running"


def test_a_failed_job_has_its_last_five_lines():
    lines = (WORKING, *"12345", "error: no space")

    job = judge("part-00000", PATH, log(*lines, said=[FAILED]), [], ALONE, leased=True)

    assert (job.state, job.why) == ("failed", "failed")
    assert job.lines == ("2", "3", "4", "5", "error: no space")


def test_what_failed_in_this_run_has_failed():
    assert state(log("error: x", age_seconds=100, said=[FAILED]), moment=run(since=200)) == "failed"


@pytest.mark.parametrize(
    ("found", "attempts"), [(log("error: x", said=[FAILED]), []), (log(WORKING), [attempt(300)])]
)
def test_what_failed_before_this_run_began_is_made_again_by_it(found, attempts):
    assert state(found, attempts, run(since=200)) == "waiting"


def test_a_snakemake_that_was_killed_makes_nothing_again():
    assert state(log("error: x", said=[FAILED]), moment=DEAD_RUN) == "failed"


def test_a_job_that_stopped_early_waits():
    assert state(log("stopped early", age_seconds=1, said=[STOPPED])) == "waiting"


@pytest.mark.parametrize("leased", [True, False])
def test_a_job_that_has_just_written_to_its_log_is_running(leased):
    assert state(log(age_seconds=5), leased=leased) == "running"
    assert state(log(age_seconds=100), leased=leased) == "waiting"


def test_a_silent_job_of_a_kind_without_leases_runs_while_its_snakemake_does():
    silent = log(age_seconds=3000)

    assert state(silent, moment=run(since=4000), leased=False) == "running"
    assert state(silent, moment=run(since=2000), leased=False) == "waiting"
    assert state(silent, moment=DEAD_RUN, leased=False) == "waiting"
    assert state(silent, moment=run(since=4000), leased=True) == "waiting"


def test_all_jobs_of_a_stage_are_judged_by_their_own_logs_and_leases(tmp_path):
    logs = {f"part-{i:05d}": tmp_path / f"part-{i:05d}.log" for i in range(4)}
    logs["part-00001"].write_text("error: x\n")
    logs["part-00003"].write_text("error: not looked at\n")
    held = [attempt(5, name="part-00002")]

    jobs = judge_all(logs, held, ALONE, begun=["part-00001"], leased=logs)

    assert [job.name for job in jobs] == list(logs)
    assert [job.state for job in jobs] == ["waiting", "failed", "running", "waiting"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.2, "0 s"),
        (39, "39 s"),
        (99.6, "2 min"),
        (12 * 60 + 5, "12 min"),
        (59.7 * 60, "1 h 0 min"),
        (3.5 * 3600, "3 h 30 min"),
        (52 * 3600, "2 d 4 h"),
    ],
)
def test_times_are_for_people(seconds, shown):
    assert span(seconds) == shown
