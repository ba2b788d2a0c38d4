"""`sampan doctor` by the real way: Snakemake, its plugin, sbatch, srun, the node, sampan."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from workflows.clone import Clone

from sampan.weights.digests import weights_digest

pytestmark = pytest.mark.timeout(900)

PROFILE = ("--profile", "profiles/slurm")


def suit(clone, **defaults):
    """The profile for the test cluster's small nodes, with an encoder that asks for a GPU."""
    path = clone.folder / "profiles/slurm/config.yaml"
    profile = yaml.safe_load(path.read_text())
    profile["latency-wait"] = 5
    profile["slurm-init-seconds-before-status-checks"] = 1
    profile["default-resources"] |= {"mem_mb": 500} | defaults
    profile["set-threads"] = {"preprocess_part": 1, "extract": 1, "extract_gpu": 2}
    profile["set-resources"]["extract_gpu"]["mem_mb"] = 2000
    path.write_text(json.dumps(profile))
    folder = clone.folder / "weights/tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"not read")
    config = clone.config()
    config["datasets"]["digits"]["features"] = {"image": ["hog", "tiny"]}
    config["encoders"]["tiny"] = {
        **{"kind": "transformers", "path": "weights/tiny", "output": "pooled"},
        "digest": weights_digest(folder),
    }
    config["models"] = {}
    clone.write_config(config)


def environment(slurm):
    """The cluster's, with the commands of the environment under test."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{slurm.environment['PATH']}"
    return {**slurm.environment, "PATH": path}


@pytest.fixture(scope="module")
def doctored(slurm, tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("doctor") / "clone")
    suit(clone)
    clone.ran = clone.run("sampan", "doctor", *PROFILE, **environment(slurm))
    return clone


def found(clone, rule):
    return json.loads((clone.folder / f"results/logs/doctor/{rule}.json").read_text())


def row(ran, rule):
    (line,) = [line for line in ran.output.splitlines() if line.startswith(f"{rule}  ")]
    return line


def test_each_kind_of_job_runs_where_its_original_would(doctored):
    cpu, gpu = found(doctored, "preprocess_part"), found(doctored, "extract_gpu")

    assert (cpu["partition"], gpu["partition"]) == ("cpu", "gpu")
    assert cpu["node"].startswith("cn")
    assert gpu["node"] == "gn1"
    assert cpu["job"] != gpu["job"]


def test_what_slurm_granted_is_what_was_asked_for(doctored):
    gpu = found(doctored, "extract_gpu")

    assert gpu["threads"]["slurm"] == gpu["threads"]["asked"] == 2
    assert gpu["memory"]["slurm_mb"] == gpu["memory"]["asked_mb"] == 2000
    assert gpu["gpus"]["visible"] == ["0"]
    assert row(doctored.ran, "preprocess_part").endswith("good")


def test_a_gpu_that_slurm_grants_and_torch_cannot_use_is_an_error(doctored):
    assert doctored.ran.code == 2
    assert (
        "error: extract_gpu: 1 GPU granted on gn1 (CUDA_VISIBLE_DEVICES=0), but torch "
        in doctored.ran.output
    )
    assert "or set set-resources: extract_gpu: gpu: 0 in the profile" in doctored.ran.output


def test_weights_and_storage_are_seen_from_the_node(doctored):
    gpu = found(doctored, "extract_gpu")

    assert gpu["weights"]["tiny"]["digest"] == gpu["weights"]["tiny"]["wanted"]
    assert gpu["storage"]["faults"] == []
    assert gpu["network"]["offline"] == "1"


@pytest.mark.parametrize("words", [("sampan", "doctor"), ("snakemake", "features")])
def test_a_wrong_partition_ends_it_before_a_job_is_submitted(slurm, tmp_path, words):
    clone = Clone(tmp_path / "clone")
    suit(clone, slurm_partition="nowhere", slurm_account="nobody")

    ran = clone.run(*words, *PROFILE, **environment(slurm))

    assert ran.code != 0
    assert "error: digits, extract, index_digits, preprocess_part, scan_digits: no partition" in (
        ran.output
    )
    assert "account nobody is none of yours; yours: " in ran.output
    assert "submitted" not in ran.output
