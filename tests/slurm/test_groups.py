"""Several partitions in one job of Slurm."""

import pytest
from slurm.runs import PARTS, kept, recorded

pytestmark = pytest.mark.timeout(900)


def test_partitions_share_jobs_and_one_that_is_killed_goes_on_from_its_shards(grouped, site):
    run = grouped.run
    made = run.stage("many", "word")
    expected = site.finished.folder / made.relative_to(run.folder)
    jobs = [job.state for job in grouped.jobs]
    assert grouped.code == 0, run
    assert sorted(jobs) == ["COMPLETED"] * (PARTS // 4) + ["FAILED"], run
    assert kept(made) == kept(expected)
    assert recorded(made) == recorded(expected)
