import copy

import pytest

from sampan.operations.doctor.findings import faults, in_order, merged, table, warnings

HERE = {"versions": {"sampan": "1 (a)", "torch": "2"}, "prefix": "/env"}
DEVICE = {"name": "A100", "memory_mb": 80_000, "capability": "8.0", "bf16": True}
GOOD = {
    "rule": "extract_gpu",
    "node": "gn1",
    "job": "7",
    "partition": "gpu",
    "environment": HERE | {"sampan": "/env/sampan", "image": ""},
    "threads": {"asked": 4, "allowed": 4, "slurm": 4},
    "memory": {"asked_mb": 1000, "slurm_mb": 1000, "cgroup_mb": None, "machine_mb": 9000},
    "gpus": {
        **{"asked": 1, "visible": ["0"], "slurm": "0", "driver": "550"},
        "torch": {"version": "2", "cuda": "12.8", "available": True, "devices": [DEVICE]},
    },
    "temporary": {"wanted": "", "path": "/tmp", "free_bytes": 10**12, "type": "tmpfs"},
    "weights": {"clip": {"path": "w", "wanted": "x", "digest": "x", "seconds": 1}},
    "storage": {
        **{"path": "results/logs/doctor", "faults": [], "clock_seconds": 0.0, "seconds": 0.1},
        **{"type": "lustre", "free_bytes": 10**12, "free_inodes": 10**6},
    },
    "network": {"offline": "1", "routes": []},
}


def job(**changes):
    """`GOOD` with some values, each named by its path with two underscores between."""
    found = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *folders, name = path.split("__")
        section = found
        for folder in folders:
            section = section[folder]
        section[name] = value
    return found


def test_a_job_that_is_granted_what_it_asks_for_has_no_faults():
    assert list(faults(GOOD, HERE)) == []
    assert list(warnings(GOOD, HERE)) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"environment__versions": {"sampan": "1 (b)", "torch": "2"}},
            "another environment on gn1: sampan 1 (b) (here 1 (a)) from /env/sampan",
        ),
        (
            {"threads__allowed": 1},
            "threads: 4 asked for, 1 granted on gn1; set extract_gpu: 1 under set-threads",
        ),
        ({"threads__slurm": 2}, "threads: 4 asked for, 2 granted on gn1"),
        (
            {"memory__cgroup_mb": 500},
            "mem_mb 1,000 asked for, 500 MB granted on gn1; set mem_mb: 500 under set-resources: "
            "extract_gpu in the profile",
        ),
        (
            {"gpus__asked": 2, "gpus__torch__devices": [DEVICE, DEVICE]},
            "GPUs: 2 asked for, 1 granted on gn1 (CUDA_VISIBLE_DEVICES=0); set set-resources: "
            "extract_gpu: gpu: 1 in the profile",
        ),
        (
            {
                "gpus__torch": {
                    "version": "2+cpu",
                    "cuda": "",
                    "available": False,
                    "fault": "no CUDA",
                }
            },
            "1 GPU granted on gn1 (CUDA_VISIBLE_DEVICES=0), but torch 2+cpu (built without CUDA; "
            "driver: 550) cannot use it: no CUDA; install a torch that is built",
        ),
        (
            {"gpus__torch__devices": [{"name": "A100", "fault": "CUDA error: ECC"}]},
            "GPU 0 of gn1 (A100) fails: CUDA error: ECC; tell your centre, and keep jobs off that "
            "node with slurm_extra: \"'--exclude=gn1'\"",
        ),
        (
            {"gpus__torch__devices": []},
            "GPUs: 1 asked for, torch sees 0 on gn1",
        ),
        (
            {"weights__clip__digest": "y"},
            "encoders.clip: w: these are other weights: digest y, the config says x",
        ),
        ({"weights__clip__fault": "w: no such folder"}, "encoders.clip: w: no such folder; stage"),
        (
            {"storage__faults": ["hard link: Operation not permitted"]},
            "results/logs/doctor on gn1 (lustre): hard link: Operation not permitted; set results",
        ),
        ({"storage__free_bytes": 10**6}, "1.0 MB free; make room"),
        ({"storage__free_inodes": 12}, "12 files more at most"),
        ({"storage__clock_seconds": -40.0}, "the file server's clock is -40.0 s from the node's"),
        ({"temporary__wanted": "/scratch"}, "TMPDIR=/scratch cannot be used on gn1"),
        ({"temporary__free_bytes": 10**6}, "1.0 MB free in /tmp on gn1"),
        ({"network__offline": "0"}, "HF_HUB_OFFLINE is 0 in the job; unset it"),
    ],
)
def test_each_fault_says_what_was_found_and_what_to_set(changes, line):
    (fault,) = faults(job(**changes), HERE)

    assert line in fault
    assert "; " in fault


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"environment__prefix": "/copy"}, "equal versions, but another place: /copy"),
        ({"memory__slurm_mb": None}, "memory granted is not known"),
        ({"network__routes": ["eth0"]}, "a route leads out of the node by eth0"),
        ({"storage__clock_seconds": 3.0}, "the file server's clock is +3.0 s from gn1's"),
        (
            {"gpus__torch__devices": [DEVICE | {"name": "V100", "bf16": False}]},
            "V100 (capability 8.0) only emulates bfloat16",
        ),
    ],
)
def test_what_is_no_fault_but_worth_knowing_is_a_warning(changes, line):
    found = job(**changes)

    (warning,) = warnings(found, HERE)

    assert line in warning
    assert list(faults(found, HERE)) == []


def test_in_an_image_only_sampan_itself_must_be_the_same_as_here():
    image = {"environment__image": "sampan.sif", "environment__prefix": "/opt"}
    other_torch = job(**image, environment__versions={"sampan": "1 (a)", "torch": "3"})
    other_sampan = job(**image, environment__versions={"sampan": "1 (b)", "torch": "2"})

    assert [*faults(other_torch, HERE), *warnings(other_torch, HERE)] == []
    assert len(list(faults(other_sampan, HERE))) == 1


def test_inodes_that_a_file_system_does_not_count_are_no_fault():
    assert list(faults(job(storage__free_inodes=None), HERE)) == []


def test_the_table_has_a_row_for_each_kind_and_its_verdict():
    cpu = job(gpus={"asked": 0, "visible": None, "slurm": "", "driver": ""}, weights={})
    bad = job(threads__allowed=1, network__offline="0")

    header, first, second = table([cpu, bad], HERE)

    assert header.split("  ")[0] == "rule"
    assert first.endswith("good")
    assert "1 (1) A100" in second
    assert "2, CUDA 12.8, driver 550, bf16" in second
    assert "1 of 1 match" in second
    assert second.endswith("2 to mend")


def test_what_all_rules_have_in_common_is_said_once():
    said = [("scan", "x"), ("train", "x"), ("train", "y")]

    assert merged(said, 2) == ["all: x", "train: y"]
    assert merged(said, 3) == ["scan, train: x", "train: y"]


def test_rules_stand_in_the_order_of_the_data():
    names = ["train", "extract_gpu", "scan_b", "index_a", "extract", "scan_a", "preprocess_part"]

    assert sorted(names, key=in_order) == [
        *("scan_a", "scan_b", "index_a", "preprocess_part", "extract", "extract_gpu", "train"),
    ]
