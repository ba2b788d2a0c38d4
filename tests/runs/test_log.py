import pytest
from told import FAILED, STARTED, STOPPED, progressed, write_events

from sampan.events import Ended
from sampan.runs.log import TAIL_BYTES, read_log, read_logs

LINE = "2026-01-02 03:04:05 INFO preprocess text@01234567 part 0: 8 shards to make, 0 adopted"


@pytest.fixture
def log(tmp_path):
    def write(*lines, events=()):
        path = tmp_path / "part-00000.log"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        if events:
            write_events(path, *events)
        return read_log(path)

    return write


def test_a_job_that_said_that_it_failed_has_failed(log):
    assert log(LINE, events=[STARTED, FAILED]).failed


@pytest.mark.parametrize(
    "said",
    ["/bin/bash: line 1: sampan: command not found", "sampan index: error: --spec is required"],
)
def test_one_whose_command_never_came_to_say_anything_has_failed(log, said):
    assert log(said).failed


@pytest.mark.parametrize(
    "line", ["error: no error of this job's", "Traceback (most recent call last):", LINE]
)
def test_what_a_log_says_is_for_people(log, line):
    found = log(line, events=[STARTED, progressed(8, 2.0)])

    assert not found.failed
    assert not found.stopped


def test_a_log_without_a_line_is_that_of_a_job_that_begins(log):
    found = log()

    assert not found.failed
    assert found.lines == ()


def test_an_attempt_that_failed_is_over_once_the_next_one_starts(log):
    assert not log(LINE, events=[STARTED, FAILED, STARTED]).failed


def test_a_job_that_stopped_early_did_not_fail(log):
    found = log(LINE, events=[STARTED, STOPPED])

    assert found.stopped
    assert not found.failed


def test_one_that_is_done_did_neither(log):
    found = log(LINE, events=[STARTED, Ended(outcome="done", seconds=1.0)])

    assert not found.stopped
    assert not found.failed


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    path = tmp_path / "scan.log"
    path.write_text("x" * TAIL_BYTES + "\n" + "last\n")

    assert read_log(path).lines == ("last",)


def test_logs_that_are_not_there_are_none(tmp_path):
    path = tmp_path / "there.log"
    path.write_text("said\n")

    found = read_logs([tmp_path / "gone.log", path])

    assert found[0] is None
    assert found[1].lines == ("said",)
