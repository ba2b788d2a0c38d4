"""A whole run in which no picture is stored, from the table to the report."""

import re
from collections import Counter
from pathlib import Path

import pytest
from steps import running
from workflows.clone import PROFILE, Clone

from sampan.operations.estimate.jobs import jobs_of, rows_of
from sampan.plan import Plan


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fused")
    config = running.pictures(folder, rows=64)
    image = config["datasets"]["pictures"]["modalities"]["image"]
    del image["rows_per_shard"]
    image |= {"store": False, "max_invalid": 0.2}
    config["models"] = {
        "sort": {"dataset": "pictures", "task": "classify", "inputs": ["image.hog"], "epochs": 2}
    }
    clone = Clone(folder / "clone")
    clone.write_config(config)
    planned = clone.snakemake("-n", *PROFILE)
    ran = clone.snakemake(*PROFILE)
    return config, clone, planned, ran


def test_no_job_preprocesses_and_all_others_are_those_of_the_estimate(run):
    config, _, planned, ran = run
    plan = Plan.parse(config)

    counted: Counter[str] = Counter()
    for work in jobs_of(plan, rows_of(plan, {})):
        counted.update(work.rules)

    names = Counter({name.removesuffix("_pictures"): n for name, n in planned.jobs.items()})
    assert planned.code == 0, planned
    assert counted == names - Counter({"all": 1})
    assert not any("preprocess" in name for name in names)
    assert ran.code == 0, ran
    assert not (Path(config["results"]) / "pictures/preprocess").exists()


def test_the_report_shows_pictures_from_the_source_and_how_busy_the_stages_were(run):
    config, *_ = run

    page = (Path(config["results"]) / "report.html").read_text()

    assert "not stored" in page
    assert re.search(r'<img src="data:image/png;base64,[^"]+"[^>]* alt="image of p000"', page)
    assert re.search(r"waited for data [\d.]+\s?%, read [\d.]+\s?%, decode [\d.]+\s?%", page)
    assert "truncated JPEG" in page


def test_a_second_run_has_nothing_to_do(run):
    _, clone, *_ = run

    again = clone.snakemake(*PROFILE)

    assert again.code == 0, again
    assert not again.jobs
    assert "Nothing to be done" in again.output
