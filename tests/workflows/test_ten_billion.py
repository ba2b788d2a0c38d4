"""The plan of ten billion samples; nothing of it is run."""

import re
import sys

import pytest
import yaml
from workflows.clone import PROFILE, Clone

from sampan.plan import Plan
from sampan.plugins import ArraySpec, make
from sampan.store.layout import FILES_PER_FOLDER, LARGEST_SHARD_BYTES, choose

CONFIG = "workflows/ten-billion/config.yaml"
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
LONGEST_ARGUMENT = 128 * 1024
"""Of a command, in bytes: MAX_ARG_STRLEN of Linux, execve(2)."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return Clone(tmp_path_factory.mktemp("ten-billion") / "clone")


@pytest.fixture(scope="module")
def planned(clone):
    words = ("snakemake", "-n", "-p", *PROFILE, "--configfile", CONFIG)
    ran = clone.run(sys.executable, "-c", MEASURE, *words)
    assert ran.code == 0, ran
    return ran


@pytest.fixture(scope="module")
def plan(clone):
    return Plan.parse(yaml.safe_load((clone.folder / CONFIG).read_text()))


def test_ten_billion_samples_are_a_few_thousand_jobs(plan, planned):
    (dataset,) = plan.config.datasets.values()

    assert dataset.capacity == 10**10
    assert 1_000 <= planned.jobs.total() <= 10_000


def test_planning_takes_less_than_a_gibibyte(planned):
    (peak,) = re.findall(r"^peak (\d+)$", planned.output, re.MULTILINE)

    assert int(peak) * 1024 < 2**30


def test_no_command_grows_with_the_number_of_partitions(planned):
    commands = re.findall(r"^Shell command: *\n(.*?)\n *$", planned.output, re.M | re.S)

    assert len(commands) >= 1_000
    assert max(len(command.encode()) for command in commands) < LONGEST_ARGUMENT // 32


def test_no_pixels_are_stored(plan):
    assert list(plan.preprocessed) == [("pairs", "caption")]
    assert list(plan.features) == [("pairs", "image.clip"), ("pairs", "caption.clip")]


def test_captions_and_features_fit_the_limits_of_a_folder_and_a_file(plan):
    (dataset,) = plan.config.datasets.values()
    caption = make("modalities", dataset.modalities["caption"].settings, "caption").array()
    clip = ArraySpec(("embedding",), (768,), "float16")

    for spec in (caption, clip):
        layout = choose("", {"main": spec}, dataset.rows_per_job, capacity=dataset.capacity)

        assert layout.rows_per_shard * layout.arrays["main"].row_bytes <= LARGEST_SHARD_BYTES
        assert dataset.capacity / layout.rows_per_shard <= FILES_PER_FOLDER
