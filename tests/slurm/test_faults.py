"""Each fault on a real cluster: the same bytes in the end, and no shard recorded twice."""

import re

import pytest
from slurm import scenarios
from slurm.runs import ROWS, ROWS_PER_SHARD, kept, recorded

pytestmark = pytest.mark.timeout(900)


def assert_undisturbed(outcome, site, dataset):
    """The run has ended well, with what an undisturbed one makes, each shard recorded once."""
    run = outcome.run
    assert outcome.code == 0, run
    made, reference = run.stage(dataset, "word"), site.finished.folder
    expected = reference / made.relative_to(run.folder)
    assert kept(made) == kept(expected)
    assert recorded(made) == recorded(expected)


def jobs_of(outcome, part):
    return outcome.jobs_of(f"_{part:05d}")


def adopted(outcome, dataset, part):
    """How many shards the last attempt took over; it does not count them where it took all."""
    log = outcome.run.log(f"{dataset}/preprocess/word@*/part-{part:05d}.log")
    found = re.findall(r"(\d+) adopted", log)
    return int(found[-1]) if found else ROWS // ROWS_PER_SHARD


# One job of a run ---------------------------------------------------------------------------------


def test_a_job_killed_in_mid_write_is_run_again_and_goes_on_at_its_shard(one_job_each, site):
    assert_undisturbed(one_job_each, site, "many")
    assert [job.state for job in jobs_of(one_job_each, scenarios.KILLED)] == ["FAILED", "COMPLETED"]
    assert adopted(one_job_each, "many", scenarios.KILLED) == 1


def test_a_job_that_reaches_its_time_limit_is_run_again(one_job_each, site):
    assert_undisturbed(one_job_each, site, "many")
    assert [job.state for job in jobs_of(one_job_each, scenarios.LIMIT)] == ["TIMEOUT", "COMPLETED"]
    assert adopted(one_job_each, "many", scenarios.LIMIT) == 1


def test_a_job_that_is_warned_of_its_time_limit_stops_at_the_next_shard(one_job_each, site):
    assert_undisturbed(one_job_each, site, "many")
    states = [job.state for job in jobs_of(one_job_each, scenarios.STOPPED)]
    assert states == ["FAILED", "COMPLETED"]
    assert adopted(one_job_each, "many", scenarios.STOPPED) == 2


def test_a_job_that_is_out_of_memory_is_granted_more(one_job_each, site):
    assert_undisturbed(one_job_each, site, "many")
    first, second = jobs_of(one_job_each, scenarios.MEMORY)
    assert (first.state, second.state) == ("FAILED", "COMPLETED")
    assert int(second.memory.rstrip("M")) >= 2 * int(first.memory.rstrip("M"))


def test_a_cancelled_job_is_run_again(one_job_each, site):
    assert_undisturbed(one_job_each, site, "many")
    states = [job.state for job in jobs_of(one_job_each, scenarios.CANCELLED)]
    assert states == ["CANCELLED", "COMPLETED"]


def test_a_job_whose_node_is_lost_is_run_on_another(one_job_each, site):
    assert_undisturbed(one_job_each, site, "many")
    (job,) = jobs_of(one_job_each, scenarios.LOST)
    assert (job.state, job.restarts) == ("COMPLETED", 1)


def test_a_preempted_job_that_slurm_requeues_is_waited_for(one_job_each, site):
    assert_undisturbed(one_job_each, site, "many")
    (job,) = jobs_of(one_job_each, scenarios.REQUEUED)
    assert (job.state, job.restarts) == ("COMPLETED", 1)


def test_a_preempted_job_that_slurm_does_not_requeue_is_requeued(one_job_each, site):
    assert_undisturbed(one_job_each, site, "many")
    (job,) = jobs_of(one_job_each, scenarios.PREEMPTED)
    assert (job.state, job.restarts) == ("COMPLETED", 1)


# A whole run --------------------------------------------------------------------------------------


def test_a_master_killed_and_started_again_lets_its_old_job_finish(master_killed, site):
    assert_undisturbed(master_killed, site, "one")
    assert len(master_killed.seen["at"].split(",")) == 1, "two attempts were at one shard"
    assert [job.state for job in master_killed.jobs] == ["COMPLETED", "COMPLETED"]
    assert adopted(master_killed, "one", 0) == 4


def test_a_source_that_cannot_be_read_for_a_while_quarantines_nothing(source_gone, site):
    assert_undisturbed(source_gone, site, "one")
    assert not list(source_gone.run.stage("one", "word").glob("quarantine/*"))
    assert len(source_gone.jobs) == 1


def test_a_shared_folder_that_is_full_for_a_while_is_waited_for(results_full, site):
    assert_undisturbed(results_full, site, "one")
    assert len(results_full.jobs) == 1


def test_a_run_needs_no_accounting(accounting_down, site):
    assert_undisturbed(accounting_down, site, "one")


def test_a_run_outlasts_a_controller_that_is_restarted(control_restarted, site):
    assert_undisturbed(control_restarted, site, "one")
    assert control_restarted.jobs[-1].state == "COMPLETED"  # one just starting may be run again
