import pytest

from sampan.operations.estimate.rates import Job, rate_of


def test_jobs_of_very_different_sizes_tell_start_up_and_work_apart():
    jobs = [Job(3 + 0.01 * rows, rows, work_seconds=1 + 0.01 * rows) for rows in (1000, 1000, 100)]

    rate = rate_of(jobs, None, "here")

    assert rate.fitted
    assert rate.startup_seconds == pytest.approx(3)
    assert rate.samples_per_second == pytest.approx(100)
    assert rate.job_seconds(10_000) == pytest.approx(103)


def test_jobs_that_differ_by_noise_alone_are_not_told_apart():
    jobs = [Job(3.2, 1000, work_seconds=2.0), Job(3.0, 100, work_seconds=2.0)]

    rate = rate_of(jobs, None, "here")

    assert not rate.fitted
    assert rate.samples_per_second == pytest.approx(1100 / 4)
    assert rate.startup_seconds == pytest.approx(1.1)


def test_of_jobs_of_one_size_the_log_says_what_was_work():
    rate = rate_of([Job(5.0, 300, work_seconds=3.0)], None, "here")

    assert (rate.startup_seconds, rate.samples_per_second) == (2.0, 100.0)


def test_without_a_log_a_whole_job_is_work():
    rate = rate_of([Job(5.0, 100)], None, "here")

    assert (rate.startup_seconds, rate.samples_per_second) == (0.0, 20.0)


def test_a_known_start_up_is_taken_off_but_never_more_than_a_job_took():
    assert rate_of([Job(5.0, 100)], 1.0, "here").samples_per_second == pytest.approx(25)
    assert rate_of([Job(0.5, 100)], 1.0, "here").startup_seconds == 0.5


def test_what_else_was_measured_is_part_of_the_source():
    rate = rate_of([Job(5.0, 100)], 1.0, "1 job of x", "another dataset")

    assert rate.source == "1 job of x (another dataset)"
