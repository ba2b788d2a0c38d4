"""Times and memory come from Snakemake's benchmark files, of this config's stages alone."""

from pathlib import Path

import pytest
from steps.report_run import config_of
from told import STARTED, worked, write_events

from sampan.pages.jobs import jobs_of
from sampan.plan import Plan

HEADER = "s\th:m:s\tmax_rss\tmax_vms"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    model = {"task": "classify", "inputs": ["image.hog"]}
    return Plan.parse(config_of(tmp_path / "samples.csv", tmp_path, **{"name-it": model}))


def measured(path: Path, *runs: tuple[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [HEADER, *(f"{seconds}\t0:00:00\t{memory}\t1.0" for seconds, memory in runs)]
    path.write_text("\n".join(lines) + "\n")


def test_jobs_are_summed_by_rule_in_the_order_of_the_data(plan: Plan, tmp_path: Path) -> None:
    image, hog = plan.preprocessed["squares", "image"], plan.features["squares", "image.hog"]
    folder = tmp_path / "benchmarks"
    measured(folder / f"squares/extract/{hog.variant}/part-00000.tsv", ("3.5", "400"))
    for part, memory in ((0, "200"), (1, "300")):
        path = folder / f"squares/preprocess/{image.variant}/part-{part:05d}.tsv"
        measured(path, ("1.25", memory))
    measured(folder / "squares/scan/scan.tsv", ("0.5", "90"))
    measured(folder / f"models/train/{plan.models['name-it'].variant}.tsv", ("20", "500"))

    found = jobs_of(plan, tmp_path)

    assert [(r.rule, r.jobs, r.seconds, r.max_memory_mb) for r in found] == [
        ("scan", 1, 0.5, 90),
        ("preprocess", 2, 2.5, 300),
        ("extract", 1, 3.5, 400),
        ("train", 1, 20, 500),
    ]


def test_commits_are_counted_apart_from_the_jobs_they_commit(plan: Plan, tmp_path: Path) -> None:
    image = plan.preprocessed["squares", "image"]
    measured(tmp_path / "benchmarks/squares/index/commit.tsv", ("0.2", "1"))
    measured(tmp_path / f"benchmarks/squares/preprocess/{image.variant}/commit.tsv", ("0.3", "2"))

    (found,) = jobs_of(plan, tmp_path)

    assert (found.rule, found.jobs) == ("commit", 2)


def test_a_rule_without_a_folder_of_its_own_is_named_by_its_file(
    plan: Plan, tmp_path: Path
) -> None:
    measured(tmp_path / "benchmarks/squares/digits.tsv", ("2", "100"))

    assert [found.rule for found in jobs_of(plan, tmp_path)] == ["digits"]


def test_of_a_job_that_ran_again_the_last_run_counts(plan: Plan, tmp_path: Path) -> None:
    measured(tmp_path / "benchmarks/squares/scan/scan.tsv", ("9", "900"), ("1", "100"))

    (found,) = jobs_of(plan, tmp_path)

    assert (found.jobs, found.seconds, found.max_memory_mb) == (1, 1, 100)


@pytest.mark.parametrize("missing", ["NA", "-", ""])
def test_memory_that_was_not_measured_is_none(plan: Plan, tmp_path: Path, missing: str) -> None:
    measured(tmp_path / "benchmarks/squares/scan/scan.tsv", ("0.1", missing))

    assert jobs_of(plan, tmp_path)[0].max_memory_mb == 0


def test_other_variants_datasets_and_empty_files_are_not_counted(
    plan: Plan, tmp_path: Path
) -> None:
    folder = tmp_path / "benchmarks"
    measured(folder / "squares/preprocess/image@00000000/part-00000.tsv", ("1", "1"))
    measured(folder / "circles/scan/scan.tsv", ("1", "1"))
    measured(folder / "models/train/name-it@00000000.tsv", ("1", "1"))
    measured(folder / "report/report.tsv", ("1", "1"))
    measured(folder / "squares/scan/scan.tsv")

    assert jobs_of(plan, tmp_path) == []


def test_there_may_be_no_benchmarks_at_all(plan: Plan, tmp_path: Path) -> None:
    assert jobs_of(plan, tmp_path / "nowhere") == []


def test_busy_shares_are_means_over_the_seconds_that_jobs_were_at_work(
    plan: Plan, tmp_path: Path
) -> None:
    hog = plan.features["squares", "image.hog"].variant
    for part, (shares, seconds) in enumerate(
        [({"read": 0.1, "encode": 0.9, "wait": 0.0}, 30.0), ({"encode": 0.5, "wait": 0.4}, 10.0)]
    ):
        place = f"squares/extract/{hog}/part-{part:05d}"
        measured(tmp_path / f"benchmarks/{place}.tsv", ("40", "1"))
        log = tmp_path / f"logs/{place}.log"
        write_events(log, STARTED, worked(64, seconds, **shares))
    measured(tmp_path / "benchmarks/squares/scan/scan.tsv", ("1", "1"))

    found = {rule.rule: rule.busy for rule in jobs_of(plan, tmp_path)}

    assert found["extract"] == pytest.approx({"wait": 0.1, "read": 0.1, "encode": 0.8})
    assert found["scan"] == {}
