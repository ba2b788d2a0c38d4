import re
import subprocess
import sys
from pathlib import Path

import pytest
from workflows.clone import PROFILE, ROOT, Clone

NAMED = sorted(path.name for path in (ROOT / "workflows").iterdir())


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return Clone(tmp_path_factory.mktemp("plans") / "clone")


@pytest.mark.parametrize("name", NAMED)
def test_a_fresh_clone_plans_every_job_of_a_named_run_without_data(clone, name):
    config = f"workflows/{name}/config.yaml"

    ran = clone.snakemake("-n", *PROFILE, "--configfile", config)

    assert ran.code == 0, ran
    assert {"preprocess_part", "train", "evaluate", "report"} <= set(ran.jobs)
    assert {"extract", "extract_gpu"} & set(ran.jobs)


def test_a_fresh_clone_plans_the_default_run(clone):
    ran = clone.snakemake("-n", *PROFILE)

    assert ran.code == 0, ran
    assert ran.jobs == {
        "digits": 1,
        "scan": 1,
        "index": 2,
        "commit_index": 1,
        "preprocess_part": 6,
        "commit_preprocess": 3,
        "extract": 6,
        "commit_features": 3,
        "train": 2,
        "evaluate": 2,
        "report": 1,
        "all": 1,
    }


def test_a_config_whose_aliases_unfold_without_end_is_refused_at_once(tmp_path):
    clone = Clone(tmp_path / "clone")
    bomb = ["a0: &a0 {x: 1}"]
    bomb += [f"a{i}: &a{i} {{l: *a{i - 1}, r: *a{i - 1}}}" for i in range(1, 60)]
    with (clone.folder / "config.yaml").open("a") as config:
        config.write("\n".join(bomb))

    ran = clone.run("timeout", "60", "snakemake", "-n", *PROFILE)

    assert ran.code == 1, ran
    assert "each alias counted as what it stands for" in ran.output


def test_a_configfile_replaces_the_default_config(clone):
    ran = clone.snakemake("-n", *PROFILE, "--configfile", "workflows/emoji/config.yaml")

    assert "digits" not in re.sub(r"rule digits", "", ran.output)


def test_a_config_with_five_faults_lists_all_five(clone):
    config = clone.folder / "faulty.yaml"
    config.write_text(
        """
datasets:
  Digits: {source: [], capacity: none, modalities: {image: {kind: image, colour: red}}}
models:
  classify: {dataset: digits, task: sort}
"""
    )

    ran = clone.snakemake("-n", *PROFILE, "--configfile", "faulty.yaml")

    assert ran.code != 0
    assert ran.output.count("error: ") >= 5, ran


@pytest.mark.parametrize("target", ["index", "preprocess", "features", "models", "report", "all"])
def test_each_target_of_the_readme_can_be_asked_for(clone, target):
    ran = clone.snakemake(target, "-n", *PROFILE)

    assert ran.code == 0, ran


def test_a_named_run_says_where_its_data_comes_from_and_under_which_licence():
    for name in NAMED:
        readme = (ROOT / "workflows" / name / "README.md").read_text()

        assert "licen" in readme.lower(), name


def test_the_package_does_not_know_snakemake_when_it_plans():
    code = "import sys, sampan.plan; print([m for m in sys.modules if m.startswith('snakemake')])"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]", Path(sys.executable)
