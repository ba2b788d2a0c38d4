import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from workflows.clone import Clone

from sampan.operations.doctor import Snakemake
from sampan.weights.digests import weights_digest

pytestmark = pytest.mark.timeout(600)

PROFILE = ("--profile", "profiles/local", "--cores", "2")
TORCH = "from sampan.operations.doctor.gpus import try_gpus; print(try_gpus()['available'])"


def with_weights(clone: Clone) -> None:
    """Let the default run have an encoder that a GPU makes fast, whose weights are any bytes."""
    folder = clone.folder / "weights/tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"not read")
    config = clone.config()
    config["datasets"]["digits"]["features"]["image"].append("tiny")
    config["encoders"]["tiny"] = {
        **{"kind": "transformers", "path": "weights/tiny", "output": "pooled"},
        "digest": weights_digest(folder),
    }
    clone.write_config(config)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Iterator[Clone]:
    clone = Clone(tmp_path_factory.mktemp("doctor") / "clone")
    with_weights(clone)
    clone.ran = clone.run("sampan", "doctor", *PROFILE)
    return clone


def row(ran, rule):
    (line,) = [line for line in ran.output.splitlines() if line.startswith(f"{rule}  ")]
    return line


def found(clone, rule):
    return json.loads((clone.folder / f"results/logs/doctor/{rule}.json").read_text())


def test_every_kind_of_job_is_tried_and_the_table_says_so(good):
    assert good.ran.code == 0, good.ran
    for rule in ("digits", "scan_digits", "index_digits", "preprocess_part", "extract", "train"):
        assert row(good.ran, rule).endswith("good")
    assert "1 of 1 match" in row(good.ran, "extract_gpu")
    assert "All 8 kinds of jobs are granted what they ask for" in good.ran.output
    assert "snakemake --profile profiles/local" in good.ran.output.splitlines()


def test_a_job_asks_for_what_the_profile_gives_its_original(good):
    ran = good.snakemake(
        *("doctor", "-n", "-p", "--forceall", *PROFILE),
        *("--set-threads", "extract=1", "--set-resources", "extract:mem_mb=777", "train:gpu=3"),
        *("--default-resources", "runtime=99"),
    )

    assert ran.code == 0, ran
    extract = ran.output.partition("rule doctor_extract:")[2].partition("rule doctor_")[0]
    assert "--threads 1 --memory-mb 777 --gpus 0" in extract
    assert "job_runtime=99" in extract
    assert "runtime=10" in extract
    assert "--gpus 3" in ran.output.partition("rule doctor_train:")[2]


def test_the_largest_job_of_a_rule_is_tried(good):
    from sampan.plan import Plan

    plan = Plan.parse(good.config())

    assert found(good, "preprocess_part")["memory"]["asked_mb"] == max(
        plan.preprocess_mb("digits", name, plan.threads("digits"))
        for name in ("image", "caption", "tone")
    )


def test_no_ordinary_target_runs_the_doctors_jobs(good):
    ran = good.snakemake("-n", *PROFILE)

    assert ran.code == 0, ran
    assert ran.jobs
    assert not [rule for rule in ran.jobs if "doctor" in rule]


def test_datasets_that_ask_for_the_same_have_one_job_between_them(good, tmp_path):
    clone = good.copy(tmp_path / "clone")
    config = clone.config()
    config["datasets"]["twin"] = config["datasets"]["digits"]
    clone.write_config(config)

    same = clone.snakemake("doctor", "-n", *PROFILE)
    other = clone.snakemake("doctor", "-n", *PROFILE, "--set-threads", "scan_twin=1")

    assert "doctor_scan_twin" not in same.output
    assert "rule doctor_scan_twin:" in other.output


@pytest.fixture(scope="module")
def bad(good, tmp_path_factory) -> Clone:
    """The same with other weights than the config says, a GPU, and libraries online."""
    clone = good.copy(tmp_path_factory.mktemp("doctor") / "bad")
    (clone.folder / "weights/tiny/model.safetensors").write_bytes(b"other bytes")
    asked = ("--set-resources", "extract_gpu:gpu=1")
    clone.ran = clone.run("sampan", "doctor", *PROFILE, "--", *asked, HF_HUB_OFFLINE="0")
    return clone


def errors(clone):
    return [line for line in clone.ran.output.splitlines() if line.startswith("error: ")]


def test_a_gpu_that_torch_cannot_use_is_an_error_that_says_what_to_set(bad):
    usable = subprocess.run([sys.executable, "-c", TORCH], capture_output=True, text=True)
    if usable.stdout.strip() == "True":
        pytest.skip("torch can use a GPU here")

    (error,) = [line for line in errors(bad) if "GPU" in line]

    assert bad.ran.code == 2
    assert error.startswith("error: extract_gpu: 1 GPU granted on ")
    assert "cannot use it" in error
    assert "or set set-resources: extract_gpu: gpu: 0 in the profile" in error


def test_other_weights_than_the_configs_are_an_error(bad):
    (error,) = [line for line in errors(bad) if "weights" in line]

    assert error.startswith("error: extract_gpu: encoders.tiny: weights/tiny: these are other")
    assert "0 of 1 match" in row(bad.ran, "extract_gpu")


def test_a_fault_of_every_kind_of_job_is_one_line(bad):
    (error,) = [line for line in errors(bad) if "OFFLINE" in line]

    assert error.startswith("error: all: HF_HUB_OFFLINE is 0 in the job; unset it")
    assert row(bad.ran, "train").endswith("1 to mend")


def test_results_that_cannot_be_written_are_said_before_anything_runs(tmp_path):
    clone = Clone(tmp_path / "clone")
    (clone.folder / "results").write_text("a file")

    ran = clone.run("sampan", "doctor", *PROFILE)

    assert ran.code == 2
    assert "error: results: is there and is no folder" in ran.output


def test_a_fault_of_the_config_is_told_as_snakemake_would(tmp_path):
    clone = Clone(tmp_path / "clone")

    ran = clone.run("sampan", "doctor", *PROFILE, "--configfile", "no.yaml")

    assert ran.code == 2
    assert ran.output == "error: no.yaml: no such config file\n"


def test_what_snakemake_refuses_is_passed_on(tmp_path):
    clone = Clone(tmp_path / "clone")

    ran = clone.run("sampan", "doctor", "--profile", "profiles/no-such")

    assert ran.code == 2
    assert "profile directory given (profiles/no-such), but no profile.yaml" in ran.output


def test_a_profile_must_be_named(tmp_path):
    ran = Clone(tmp_path / "clone").run("sampan", "doctor")

    assert ran.code == 2
    assert ran.output.startswith("error: --profile is missing")


def test_a_job_without_a_result_is_told_with_its_logs(tmp_path):
    output = [
        "rule doctor_train:",
        "    jobid: 7",
        "Job 7 has been submitted with SLURM jobid 42 (log: /logs/42.log).",
        "Error in rule doctor_train:",
        "error: no such account",
    ]
    run = Snakemake(tmp_path / "snakemake.log")

    news = [said for line in output for said in run.news(line)]

    assert news == ["train: submitted, Slurm job 42", "train: failed"]
    assert "its job left nothing that this node can see" in run.missing("train", tmp_path)
    assert "/logs/42.log" in run.missing("train", tmp_path)
    assert "its job was not submitted" in run.missing("scan_d", tmp_path)
    assert run.said == ["no such account"]
