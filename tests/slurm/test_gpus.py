"""GPU jobs ask through the profile, and each process gets a GPU of its own; fake ones here."""

import pytest

pytestmark = pytest.mark.timeout(900)


def test_each_granted_gpu_has_one_process_that_sees_no_other(gpus):
    assert gpus.code == 0, gpus.run
    assert sorted(gpus.seen["given"].values()) == ["0", "1"]
    assert set(gpus.seen["devices"].values()) == {"cuda"}
    (job,) = (job for job in gpus.jobs_of("rule_extract_gpu") if job.name == gpus.run.names[1])
    assert (job.state, job.partition, job.node) == ("COMPLETED", "gpu", "gn1")


def test_a_granted_gpu_that_torch_cannot_use_is_refused(gpus):
    assert "error: 2 GPU granted, but torch" in gpus.seen["refused"]
    assert "device: cpu" in gpus.seen["refused"]
    assert "non-zero exit status 2" in gpus.seen["refused slurm"]


def test_an_encoder_on_the_cpu_leaves_a_granted_gpu_alone(gpus):
    assert gpus.seen["done on the cpu"] == "True", gpus.run
    assert set(gpus.seen["on the cpu"].values()) == {"cpu"}
