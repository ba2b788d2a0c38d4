"""The default run on a real cluster."""

from collections import Counter

import pytest

pytestmark = pytest.mark.timeout(900)


def test_the_default_run_ends_with_its_report_and_its_jobs_ran_in_slurm(digits):
    assert digits.code == 0, digits.run
    assert (digits.run.folder / "results/report.html").stat().st_size > 50_000
    rules = Counter(
        job.comment.removeprefix("rule_").partition("_wildcards")[0] for job in digits.jobs
    )
    assert rules["preprocess_part"] == 6
    assert rules["extract"] == 6
    assert rules["train"] == rules["evaluate"] == 2
    assert {job.state for job in digits.jobs} == {"COMPLETED"}
    assert digits.seen["sacct"] == ["COMPLETED|cpu"] * len(digits.jobs)


def test_a_finished_run_on_slurm_has_nothing_to_be_done(digits):
    assert digits.seen["again"].startswith("exit 0"), digits.seen["again"]
    assert "Nothing to be done" in digits.seen["again"]
