import shutil

import pytest
from configs import small
from operations.estimates import changed, measured_texts, write_benchmark
from pipeline import stage_of
from told import ENDED, STARTED, worked, write_events

from sampan.operations.estimate.measured import Measured
from sampan.plan import Plan


@pytest.fixture
def config(tmp_path):
    return measured_texts(tmp_path)


@pytest.fixture
def measured(config):
    return Measured(folder=Plan.parse(config).results)


def extract(config):
    return "extract", stage_of(Plan.parse(config), "text.ngrams")


def test_a_stages_rate_is_its_logs_and_names_its_jobs(config, measured):
    step, stage = extract(config)

    rate = measured.stage(step, stage)

    assert rate.samples_per_second == pytest.approx(400, rel=0.05)
    assert rate.startup_seconds == pytest.approx(2, rel=0.02)
    folder = measured.folder / "benchmarks/texts/extract" / stage.variant
    assert rate.source == f"3 jobs of {folder}"


def test_another_variant_counts_only_by_saying_so(config, measured):
    rate = measured.stage(*extract(changed(config, dimensions=32)))

    assert rate.source.endswith(f"{extract(config)[1].variant} (another variant)")
    assert rate.samples_per_second == pytest.approx(400, rel=0.05)


def test_the_same_variant_of_another_dataset_counts_as_it_is(config, measured):
    other = {"other": config["datasets"]["texts"]}
    stage = Plan.parse(config | {"datasets": other}).features["other", "text.ngrams"]

    rate = measured.stage("extract", stage)

    assert rate.remark == ""
    assert "texts/extract" in rate.source


def test_the_same_variant_goes_before_a_much_measured_other_one(config, measured):
    step, stage = extract(changed(config, dimensions=32))
    of_other = measured.folder / "benchmarks/texts/extract" / extract(config)[1].variant
    own = of_other.with_name(stage.variant)
    own.mkdir()
    shutil.copy(of_other / "part-00000.tsv", own)
    receipts = measured.folder / "texts/features"
    shutil.copytree(receipts / of_other.name, receipts / own.name)

    rate = measured.stage(step, stage)

    assert rate.source.startswith(f"1 job of {own}")


def test_a_job_that_adopted_all_its_shards_says_nothing_of_rates(config, measured):
    step, stage = extract(config)
    place = f"{step}/{stage.variant}/part-00000"
    write_benchmark(measured.folder / f"benchmarks/texts/{place}.tsv", 0.9)
    write_events(measured.folder / f"logs/texts/{place}.log", STARTED, ENDED)

    rate = measured.stage(step, stage)

    assert rate.samples_per_second == pytest.approx(400, rel=0.05)
    assert rate.source.startswith("2 jobs of ")


def test_a_step_that_was_never_run_has_no_rate(config, measured):
    shutil.rmtree(measured.folder / "benchmarks/texts/extract")

    assert measured.stage(*extract(config)) is None


def test_the_shortest_commit_is_the_start_up_of_scan_and_index(measured):
    scan, index = measured.scan("texts"), measured.index("texts")

    assert scan.startup_seconds == 0.5
    assert scan.seconds_per_sample == pytest.approx(3.0 / 150)
    # Three jobs of 2.5 s with 150 samples, and one without samples of 0.6 s: a line through both.
    assert index.fitted
    assert index.startup_seconds == pytest.approx(0.6)
    assert index.source == f"3 jobs of {measured.folder}/benchmarks/texts/index"


def test_another_datasets_scan_is_said_to_be_that(measured):
    assert measured.scan("other").source.endswith("texts/scan/scan.tsv (another dataset)")


def test_the_indexs_bytes_are_those_of_its_files(measured):
    files = [path.stat().st_size for path in measured.folder.glob("texts/index/part-*.parquet")]

    row_bytes, source = measured.index_row_bytes("texts")

    assert row_bytes == pytest.approx(sum(sorted(files)[1:]) / 150)  # one holds no rows
    assert source.endswith("texts/index/part-*.parquet")


def test_a_benchmark_that_is_damaged_or_was_too_short_to_measure_is_passed_over(config, measured):
    step, stage = extract(config)
    folder = measured.folder / "benchmarks/texts/extract" / stage.variant
    (folder / "part-00000.tsv").write_text("")
    (folder / "part-00001.tsv").write_text("s\nNA\n")

    assert measured.stage(step, stage).source.startswith("1 job of ")


def test_a_models_time_grows_with_its_samples_after_its_start_up(tmp_path):
    plan = Plan.parse(small({"results": str(tmp_path)}))
    stage = plan.models["sort"]
    write_benchmark(tmp_path / f"benchmarks/models/train/{stage.variant}.tsv", 10.0)
    write_benchmark(tmp_path / f"benchmarks/models/evaluate/{stage.variant}.tsv", 6.0)
    for verb, seconds in (("train", 8.0), ("evaluate", 4.0)):
        log = tmp_path / f"logs/models/{verb}/{stage.variant}.log"
        write_events(log, STARTED, worked(200, seconds))
    card = tmp_path / stage.folder / "model.json"
    card.parent.mkdir(parents=True)
    card.write_text('{"counts": {"train": 150, "validation": 20, "test": 20, "left out": 10}}')
    measured = Measured(folder=tmp_path)

    train, evaluate = (measured.model(step, stage) for step in ("train", "evaluate"))

    assert (train.startup_seconds, evaluate.startup_seconds) == (2.0, 2.0)
    assert train.seconds_per_sample == pytest.approx(8 / 200)
    assert evaluate.seconds_per_sample == pytest.approx(4 / 200)
    assert train.source == f"1 job of {tmp_path}/benchmarks/models/train/{stage.variant}.tsv"
