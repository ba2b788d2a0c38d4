import json

import pytest
from workflows.clone import PROFILE, Clone

pytestmark = pytest.mark.timeout(600)

SHARDS = "1 shards to make, 12 adopted"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("default") / "clone")
    clone.ran = clone.snakemake(*PROFILE)
    return clone


@pytest.fixture
def again(finished, tmp_path):
    """A copy of the finished run, to change; of its models only the quick one is asked for."""
    clone = finished.copy(tmp_path / "again")
    config = clone.config()
    del config["models"]["digits-align"]
    clone.write_config(config)
    return clone


def metrics(clone, model):
    (path,) = (clone.folder / "results" / "models").glob(f"{model}@*/metrics.json")
    return json.loads(path.read_text())


def rows(clone):
    return (clone.folder / "resources/digits/samples.csv").read_text().splitlines()


def write_rows(clone, lines):
    (clone.folder / "resources/digits/samples.csv").write_text("\n".join(lines) + "\n")


def test_the_default_run_ends_with_a_report_and_good_models(finished):
    assert finished.ran.code == 0, finished.ran
    (page,) = (finished.folder / "results/reports").iterdir()
    assert f"Look at the report: results/reports/{page.name}" in finished.ran.output
    assert page.stat().st_size > 50_000
    assert (finished.folder / "results/report.html").read_bytes() == page.read_bytes()
    classify = metrics(finished, "digits-classify")
    assert classify["split"] == "test"
    assert classify["metrics"]["accuracy"]["value"] >= 0.97
    assert classify["metrics"]["accuracy"]["low"] < classify["metrics"]["accuracy"]["value"]
    assert "image→caption/recall_at_10" in metrics(finished, "digits-align")["metrics"]


def test_a_finished_run_has_nothing_to_be_done(finished):
    ran = finished.snakemake(*PROFILE)

    assert ran.code == 0, ran
    assert "Nothing to be done" in ran.output
    assert not ran.jobs


def test_a_finished_run_has_the_files_and_bytes_that_were_estimated(finished):
    ran = finished.run("sampan", "estimate", "config.yaml", "--json")

    found = json.loads(ran.output)["total"]
    folders = [finished.folder / "results", finished.folder / ".snakemake/metadata"]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    quarantines = 2 * 6  # at most one a partition and stage; here all samples are valid
    checkpoints = 2 * 2  # at most two a model; how many are made in time depends on the machine
    made = len(list(finished.folder.glob("results/models/*/checkpoints/step-*")))
    spared = quarantines + 3 * (checkpoints - made)
    assert 2 <= made <= checkpoints
    assert len(files) == found["files"]["amount"] - spared
    size = sum(path.stat().st_size for path in files) + bytes_of_checkpoints_to_come(finished)
    assert found["bytes"]["amount"] == pytest.approx(size, rel=0.1)
    assert found["node_hours"]["complete"]


def bytes_of_checkpoints_to_come(clone):
    """Of those that would be there, had the machine been slower."""
    total = 0
    for folder in clone.folder.glob("results/models/*/checkpoints"):
        sizes = [sum(f.stat().st_size for f in each.iterdir()) for each in folder.glob("step-*")]
        total += (2 - len(sizes)) * sizes[0]
    return total


def test_snakemakes_own_report_has_captions_and_categories(finished):
    ran = finished.snakemake(*PROFILE, "--report", "snakemake.html")

    assert ran.code == 0, ran
    page = (finished.folder / "snakemake.html").read_text()
    assert "digits-classify" in page
    assert "Models" in page
    assert "bootstrap" in page  # a word of the metrics' caption


def test_a_changed_setting_makes_just_the_variants_that_depend_on_it(again):
    config = again.config()
    config["encoders"]["logmel"]["bands"] = 32
    again.write_config(config)

    ran = again.snakemake("-n", *PROFILE)

    assert ran.jobs == {
        "extract": 2,
        "commit_features": 1,
        "train": 1,
        "evaluate": 1,
        "report": 1,
        "all": 1,
    }, ran


def test_a_failed_model_leaves_a_page_that_names_it_and_is_not_taken_for_the_report(again):
    config = again.config()
    unsplit = {"dataset": "digits", "task": "classify", "inputs": ["image.hog"]}
    config["models"]["unsplit"] = unsplit | {"split": {"validation": 0}}
    again.write_config(config)

    ran = again.snakemake(*PROFILE)

    assert ran.code == 1
    assert "What there is, and what failed: results/report.html" in ran.output
    page = (again.folder / "results/report.html").read_text()
    assert "<title>Incomplete: digits</title>" in page
    assert "error: models.unsplit.split: no sample falls in validation" in page
    assert "digits-classify@" in page
    planned = again.snakemake("-n", *PROFILE)
    assert planned.jobs == {"train": 1, "evaluate": 1, "report": 1, "all": 1}, planned


def test_ten_new_rows_at_the_end_do_only_the_work_those_rows_need(again):
    lines = rows(again)
    new = [line.replace("digit-", "again-", 1) for line in lines[1:11]]
    write_rows(again, [*lines, *new])

    ran = again.update()

    assert ran.code == 0, ran
    assert ran.jobs["index"] == 2, ran  # one partition, and the target of that name
    assert ran.jobs["preprocess_part"] == 3
    assert ran.jobs["extract"] == 3
    for stage in ("preprocess/image@*", "preprocess/caption@*", "preprocess/tone@*"):
        assert SHARDS in again.log(f"digits/{stage}/part-00001.log")
    for stage in ("extract/image.hog@*", "extract/caption.ngrams@*", "extract/tone.logmel@*"):
        assert SHARDS in again.log(f"digits/{stage}/part-00001.log")
    for committed in (again.folder / "results/digits").glob("*/*/dataset.json"):
        assert json.loads(committed.read_text())["rows"] == 1807


def test_thirty_changed_labels_extract_nothing(again):
    lines = rows(again)
    changed = [f"{line[:-1]}{(int(line[-1]) + 1) % 10}" for line in lines[1:31]]
    write_rows(again, [lines[0], *changed, *lines[31:]])

    ran = again.update()

    assert ran.code == 0, ran
    assert not {"preprocess_part", "extract", "commit_features"} & set(ran.jobs), ran
    assert ran.jobs["train"] == 1


def test_an_update_without_news_computes_nothing(again):
    ran = again.update()

    assert ran.code == 0, ran
    assert set(ran.jobs) <= {"scan", "index", "report", "all"}, ran


def test_rows_that_moved_are_refused(again):
    lines = rows(again)
    write_rows(again, [lines[0], *lines[2:], lines[1]])

    ran = again.update()

    assert ran.code != 0
    assert "are no longer the samples they were" in ran.output
    assert "--renumber" in ran.output
