import os
import sys

import pytest

import sampan
from sampan.compute import Grant
from sampan.operations.doctor import job as doctor_job
from sampan.plan.jobs import EncoderSettings
from sampan.weights.digests import weights_digest

MODEL = b"\x08\x07\x3a\x03\x12\x01g"
"""An ONNX file with a version and a graph that has only a name."""
GRANT = Grant(threads=2, memory_mb=1000)


def kernel(folder, cgroup, **limits):
    """A /proc and a /sys with a process in a control group, and limits by path."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(cgroup)
    for path, limit in limits.items():
        file = folder / "sys/fs/cgroup" / path.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit}\n")
    return folder / "proc", folder / "sys"


def test_the_least_limit_above_a_process_counts_in_version_2(tmp_path):
    proc, sys_ = kernel(
        tmp_path,
        "0::/slurm/job_7/step_0\n",
        **{"slurm__memory_dot_max": 9 * 2**30, "slurm__job_7__memory_dot_max": 2**30},
        **{"slurm__job_7__step_0__memory_dot_max": "max"},
    )

    assert doctor_job.cgroup_mb(proc, sys_) == 1024


def test_the_least_limit_above_a_process_counts_in_version_1(tmp_path):
    name = "memory_dot_limit_in_bytes"
    proc, sys_ = kernel(
        tmp_path,
        "5:cpu,cpuacct:/x\n4:memory:/slurm/uid_0/job_7\n0::/\n",
        **{f"memory__{name}": 2**63 - 4096, f"memory__slurm__uid_0__job_7__{name}": 3 * 2**30},
    )

    assert doctor_job.cgroup_mb(proc, sys_) == 3072


def test_no_limit_is_none(tmp_path):
    proc, sys_ = kernel(tmp_path, "0::/\n")

    assert doctor_job.cgroup_mb(proc, sys_) is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("JobId=7 NumNodes=1 NumCPUs=2 TRES=cpu=2,mem=3000M,node=1,gres/gpu=1 X=1", 3000),
        ("JobId=7 NumNodes=2 NumCPUs=2 TRES=cpu=2,mem=4G,node=2 X=1", 2048),
        ("JobId=7 NumNodes=1 NumCPUs=2 TRES=cpu=2,node=1 X=1", None),
    ],
)
def test_the_controller_says_what_memory_a_job_has(tmp_path, monkeypatch, said, expected):
    script = tmp_path / "scontrol"
    script.write_text(f"#!/bin/sh\necho '{said}'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert doctor_job.slurm_mb("7") == expected


def test_outside_slurm_nobody_is_asked(monkeypatch):
    monkeypatch.setenv("PATH", "")

    assert doctor_job.slurm_mb("") is None


def test_a_way_out_is_a_route_to_everywhere_that_is_up(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net/route").write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "ib0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "bad0\t00000000\t0100A8C0\t0203\t0\t0\t0\t00000000\t0\t0\t0\n"
    )
    zero = "0" * 32
    (tmp_path / "net/ipv6_route").write_text(
        f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
        f"{zero} 00 {zero} 00 {zero} 00000400 00000001 00000000 00000003     eth1\n"
    )

    assert doctor_job.network(tmp_path)["routes"] == ["eth0", "eth1"]
    assert doctor_job.network(tmp_path / "none")["routes"] == []


def test_the_environment_is_told_by_versions_and_by_sampans_own_files():
    found = doctor_job.environment()

    assert found["prefix"] == sys.prefix
    assert found["versions"]["sampan"].startswith(f"{sampan.__version__} (")
    assert found["versions"]["torch"]


def test_weights_have_the_digest_that_the_encoder_will_see(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.onnx").write_bytes(MODEL)
    encoders = {
        "hog": {"kind": "hog"},
        "plugin": {"kind": "tests:Own", "path": str(tmp_path), "digest": "x"},
        "here": {"kind": "transformers", "path": str(tmp_path), "digest": "x"},
        "graph": {"kind": "onnx", "path": str(tmp_path), "digest": "x"},
        "gone": {"kind": "onnx", "path": str(tmp_path / "no"), "digest": "x"},
    }

    found = dict(
        doctor_job.weights({name: EncoderSettings(given) for name, given in encoders.items()})
    )

    assert found.keys() == {"here", "graph", "gone"}
    assert found["here"]["digest"] == weights_digest(tmp_path)
    assert found["graph"]["digest"] == weights_digest(tmp_path, "onnx")
    assert found["graph"]["digest"] != found["here"]["digest"]
    assert "no such folder of weights" in found["gone"]["fault"]


def test_threads_are_those_that_the_kernel_and_slurm_allow(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")

    assert doctor_job.threads(GRANT) == {
        "asked": 2,
        "allowed": len(os.sched_getaffinity(0)),
        "slurm": 1,
    }


def test_torch_starts_only_where_a_gpu_was_granted(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")

    found = doctor_job.gpus(GRANT)

    assert found["visible"] == ["0", "1"]
    assert "torch" not in found


def test_a_driver_that_hangs_or_kills_is_a_fault_and_no_end(monkeypatch):
    killed = "import os; os.kill(os.getpid(), 9)"
    monkeypatch.setattr(doctor_job, "TRY_GPUS", ["-c", killed])
    ended = doctor_job.gpus(Grant(threads=1, memory_mb=1, gpus=1))
    monkeypatch.setattr(doctor_job, "TRY_GPUS", ["-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(doctor_job, "GPU_SECONDS", 0.5)
    hung = doctor_job.gpus(Grant(threads=1, memory_mb=1, gpus=1))

    assert ended["torch"] == {"fault": "torch ended with -9: nothing"}
    assert hung["torch"] == {"fault": "torch did not answer in 0 s"}


def test_the_version_of_the_driver_is_the_kernel_modules(tmp_path):
    (tmp_path / "driver/nvidia").mkdir(parents=True)
    (tmp_path / "driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
    )

    assert doctor_job.driver(tmp_path) == "550.54.15"
    assert doctor_job.driver(tmp_path / "none") == ""
