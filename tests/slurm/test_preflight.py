"""Real Slurm refuses what `preflight` says it would, and nothing is submitted."""

import os

import pytest

from sampan.errors import ConfigError
from sampan.slurm import preflight

ASKED = {"slurm_account": "sampan", "slurm_partition": "cpu", "mem_mb": 1000, "runtime": 10}
EXTRA = {"slurm_extra": "--signal=USR1@120 --open-mode=append"}


@pytest.fixture(autouse=True)
def in_its_environment(slurm, monkeypatch):
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)


def kind(threads=2, **resources):
    return {"rule": "extract", "threads": threads, "resources": ASKED | resources}


def jobs_known():
    with os.popen("squeue --noheader --states=all --format=%i") as queue:
        return set(queue.read().split())


@pytest.mark.parametrize(
    "resources",
    [{}, EXTRA, {"slurm_partition": "gpu", "gpu": 1}, {"slurm_partition": "gpu", "gres": "gpu:2"}],
)
def test_slurm_would_take_it_and_no_job_is_submitted(resources):
    before = jobs_known()

    preflight.check([kind(**resources)])

    assert jobs_known() == before


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"slurm_partition": "nowhere"}, "extract: no partition nowhere here; there are: cpu"),
        ({"slurm_account": "nobody"}, "extract: account nobody is none of yours; yours: "),
        ({"gpu": 1}, "extract: 1 GPU asked for, but no node of partition cpu has one"),
        ({"slurm_partition": "gpu", "gpu": 99}, "extract: 99 GPUs asked for; a node of partition"),
        ({"slurm_partition": "gpu", "gpu": 1, "gpu_model": "z9"}, "extract: GPU of model z9"),
        ({"slurm_partition": "gpu", "gres": "gpux:1"}, "Slurm refuses it: Invalid generic"),
        ({"mem_mb": 10**9}, "extract: mem_mb 1,000,000,000 asked for; a node of partition cpu has"),
        ({"threads": 9999}, "extract: 9999 threads asked for; a node of partition cpu has"),
        ({"runtime": 10**5}, "extract: runtime 100,000 minutes; partition cpu allows 1,440"),
        ({"constraint": "hot"}, "extract: constraint hot: nodes of cpu have no features"),
        ({"qos": "best"}, "extract: no quality of service best for this job; there are: normal"),
        ({"reservation": "r"}, "Slurm refuses it: Requested reservation is invalid"),
    ],
)
def test_each_refusal_says_what_there_is(asked, line):
    with pytest.raises(ConfigError) as caught:
        preflight.check([kind(**asked)])

    (fault,) = caught.value.faults
    assert line in fault
