import pipeline
import pytest
from steps import running

from sampan.runs.log import TAIL_BYTES, read_log, read_logs

BEGUN = "2026-01-02 03:04:05 INFO preprocess text@01234567 part 0: 8 shards to make, 0 adopted"
PROGRESS = (
    "2026-01-02 03:04:15 INFO preprocess text@01234567: 1,024 of 4,096 samples (102/s, 30 s left)"
)
TRACEBACK = """Traceback (most recent call last):
  File "/x/cli.py", line 7, in main
    work()
ZeroDivisionError: division by zero"""


@pytest.fixture
def log(tmp_path):
    def write(*lines):
        path = tmp_path / "part-00000.log"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return read_log(path)

    return write


@pytest.mark.parametrize(
    "end",
    [
        "error: datasets.d: too many",
        "usage: sampan index\nsampan index: error: the following arguments are required: --spec",
        TRACEBACK,
        "/bin/bash: line 1: sampan: command not found",
        "error: one of two\nerror: two of two\nand a warning of a library",
    ],
)
def test_an_error_at_the_end_is_seen(log, end):
    assert log(BEGUN, end).ends_in_error


@pytest.mark.parametrize("end", [PROGRESS, "a library: UserWarning: odd", "row 3: no error here"])
def test_other_lines_at_the_end_are_no_error(log, end):
    assert not log(BEGUN, end).ends_in_error


def test_an_error_that_a_job_got_over_is_none(log):
    assert not log(BEGUN, TRACEBACK, PROGRESS).ends_in_error


@pytest.mark.parametrize(
    "end",
    [
        "2026-01-02 03:04:15 INFO stopped at step 3 of 9; run again to go on",
        "stopped early; run again to go on",
        "stopped; run the same command again to go on",
    ],
)
def test_a_job_that_stopped_early_says_so_and_did_not_fail(log, end):
    found = log(BEGUN, end)

    assert found.stopped
    assert not found.ends_in_error


def test_the_last_line_on_progress_gives_the_rate(log):
    found = log(PROGRESS, PROGRESS.replace("102/s", "2,048/s"), "something else")

    assert found.samples_per_second == 2048


def test_a_training_has_its_epochs_left(log):
    epoch = "2026-01-02 03:04:05 INFO epoch {} of 30: train loss 1.0, learning rate 7.14e-04, {} s"

    found = log(epoch.format(1, 9.0), epoch.format(20, 2.5))

    assert found.seconds_left == 25.0


def test_a_log_that_says_nothing_has_no_rate_and_no_fault(log):
    found = log()

    assert found.lines == ()
    assert found.samples_per_second is None and found.seconds_left is None
    assert not found.ends_in_error and not found.stopped


def test_of_a_long_log_only_the_end_is_read_by_whole_lines(log):
    found = log(*["x" * 99] * 1000, "error: at last")

    assert found.lines[-1] == "error: at last"
    assert set(found.lines[:-1]) == {"x" * 99}
    assert len(found.lines) <= TAIL_BYTES // 100 + 1


def test_there_may_be_no_log(tmp_path):
    assert read_logs([tmp_path / "none.log"]) == [None]


def test_a_real_jobs_error_is_seen(tmp_path):
    config = pipeline.texts(tmp_path)
    (tmp_path / "texts.csv").unlink()

    running.Job(running.job(config, "scan"), tmp_path / "scan.log").wait()

    assert read_log(tmp_path / "scan.log").ends_in_error
