"""The report of a small run with one broken image, one blank caption and one repeated key."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from reporting.html_check import Page
from steps.report_run import BLANK, BROKEN, ROWS, TWICE, WORDS, config_of, make, make_source

from sampan.cli import main
from sampan.plan import Plan
from sampan.reporting.data import ModelReport, Picture, ReportData, Text
from sampan.reporting.page import render
from sampan.steps.report import report_data, what_is_there
from sampan.storage.durable import read_json

SHORT = {"epochs": 3, "hidden": 0, "bootstrap": 100, "batch_size": 32}
MODELS: dict[str, dict[str, Any]] = {
    "name-it": {"task": "classify", "inputs": ["image.hog", "caption.ngrams"], **SHORT},
    "measure-it": {"task": "regress", "inputs": ["caption.ngrams"], **SHORT},
    "match-it": {"task": "align", "inputs": ["image.hog", "caption.ngrams"], **SHORT},
}


class Made(NamedTuple):
    config: dict[str, Any]
    results: Path
    data: ReportData


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("report")
    config = config_of(make_source(folder / "raw"), folder / "results", **MODELS)
    make(config)
    return Made(config, folder / "results", report_data(config, folder / "results"))


def model(made: Made, name: str) -> ModelReport:
    return next(model for model in made.data.models if model.name == name)


def write(config: dict[str, Any], results: Path, out: Path, *more: str) -> int:
    spec = json.dumps({"config": config})
    return main(["report", "--spec", spec, "--results", str(results), "--out", str(out), *more])


def test_the_page_is_valid_and_names_every_variant_of_the_config(
    made: Made, tmp_path: Path
) -> None:
    out = tmp_path / "new folder/report.html"

    code = write(made.config, made.results, out)

    page = Page(out.read_text())
    assert code == 0
    assert page.faults == []
    assert [s.variant for s in Plan.parse(made.config).stages() if s.variant not in page.text] == []
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_the_same_results_make_the_same_bytes(made: Made, tmp_path: Path) -> None:
    pages = tmp_path / "one.html", tmp_path / "two.html"

    for out in pages:
        write(made.config, made.results, out)

    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_what_this_config_does_not_make_is_not_shown(made: Made) -> None:
    less = made.config | {"models": {}}
    less["datasets"] = {"squares": made.config["datasets"]["squares"] | {"features": {}}}

    data = report_data(less, made.results)

    assert list(data.models) == [] and list(data.datasets[0].features) == []


def test_a_model_that_is_not_evaluated_is_an_error_and_leaves_no_page(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = {"dataset": "squares", "task": "classify", "inputs": ["image.hog"]}
    more = made.config | {"models": {"not-yet": missing}}

    code = write(more, made.results, tmp_path / "report.html")

    assert code == 2
    assert "not-yet" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def failing(made: Made, tmp_path: Path, log: str, words: str) -> dict[str, Any]:
    """A config on a copy of the results, where the job of this log ended with these words."""
    results = tmp_path / "results"
    shutil.copytree(made.results, results)
    path = results / "logs" / log
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(words)
    return copy.deepcopy(made.config) | {"results": str(results)}


def test_an_incomplete_page_shows_what_is_there_and_the_error_of_what_failed(
    made: Made, tmp_path: Path
) -> None:
    config = failing(made, tmp_path, "none", "")
    config["models"]["odd"] = {"dataset": "squares", "task": "regress", "inputs": ["image.hog"]}
    odd = Plan.parse(config).models["odd"]
    log = Path(config["results"]) / f"logs/models/train/{odd.variant}.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-01 00:00:00 INFO begins\nerror: 3 labels are <b>no</b> numbers\n")

    code = write(config, Path(config["results"]), tmp_path / "page.html", "--incomplete")

    page = Page((tmp_path / "page.html").read_text())
    assert code == 0
    assert page.faults == []
    assert "Incomplete: 1 failed" in page.text
    assert "error: 3 labels are <b>no</b> numbers" in page.text
    assert all(Plan.parse(config).models[name].variant in page.text for name in MODELS)


def test_models_of_features_that_failed_wait_for_them(made: Made, tmp_path: Path) -> None:
    hog = Plan.parse(made.config).features["squares", "image.hog"]
    log = f"squares/extract/{hog.variant}/part-00000.log"
    config = failing(made, tmp_path, log, "Traceback (most recent call last):\nOops: x\n")
    shutil.rmtree(Path(config["results"]) / hog.folder)

    data = what_is_there(config, Path(config["results"]))

    said = {one.what: (one.state, one.why) for one in data.unfinished}
    assert said == {
        "features image.hog of squares": ("failed", "1 of 3 jobs, such as: Oops: x"),
        "model name-it": ("waiting", "waits for features image.hog of squares"),
        "model match-it": ("waiting", "waits for features image.hog of squares"),
    }
    assert data.unfinished[0].state == "failed"
    assert [model.name for model in data.models] == ["measure-it"]
    assert [feature.name for feature in data.datasets[0].features] == ["caption.ngrams"]


def test_where_nothing_was_made_the_page_still_says_why(made: Made, tmp_path: Path) -> None:
    config = failing(made, tmp_path, "squares/scan/scan.log", "error: no such table\n")
    shutil.rmtree(Path(config["results"]) / "squares")

    code = write(config, Path(config["results"]), tmp_path / "page.html", "--incomplete")

    page = Page((tmp_path / "page.html").read_text())
    assert (code, page.faults) == (0, [])
    assert "index of squares" in page.text and "error: no such table" in page.text


def test_a_finished_run_is_not_called_incomplete(made: Made, tmp_path: Path) -> None:
    for name, more in (("whole.html", ()), ("part.html", ("--incomplete",))):
        write(made.config, made.results, tmp_path / name, *more)

    assert (tmp_path / "whole.html").read_bytes() == (tmp_path / "part.html").read_bytes()


def test_a_split_that_no_model_uses_is_not_shown(made: Made) -> None:
    own = {"validation": 0.4, "test": 0.3}
    config = copy.deepcopy(made.config)
    config["models"] = {"name-it": config["models"]["name-it"]}
    default = config["datasets"]["squares"]["split"]
    config["datasets"]["squares"]["split"] = own
    config["models"]["name-it"]["split"] = default

    data = report_data(config, made.results)

    dataset, card = data.datasets[0], model(made, "name-it")
    assert dataset.split_of == ["name-it"]
    assert dataset.splits == made.data.datasets[0].splits
    assert data.models[0].has_own_split and not card.has_own_split


def test_rows_of_two_datasets_are_not_added_up(made: Made, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(made.results, results)
    shutil.copytree(results / "squares", results / "again")
    config = made.config | {
        "datasets": dict.fromkeys(("squares", "again"), made.config["datasets"]["squares"])
    }
    config["models"] = {}

    data = report_data(config, results)

    page = Page(render(data)).text
    assert str(ROWS) in page and str(2 * ROWS) not in page
    assert "2 datasets of image and text" in page


def test_every_usable_row_is_in_one_split_and_has_one_label(made: Made) -> None:
    dataset = made.data.datasets[0]

    assert (dataset.rows, dataset.capacity) == (ROWS, 128)
    assert sum(dataset.splits.values()) == ROWS - 1
    assert [label.label for label in dataset.labels] == ["0", "1", "2", "3"]
    assert [sum(label.splits.values()) for label in dataset.labels] == [24, 24, 24, 23]


def test_a_sample_that_cannot_be_used_is_named_where_it_was_found(made: Made) -> None:
    dataset = made.data.datasets[0]
    image, caption = dataset.modalities

    assert [reason.examples[0].key for reason in image.reasons] == [f"sample-{BROKEN:03d}"]
    assert [reason.examples[0].cell for reason in image.reasons] == [f"images/{BROKEN}.png"]
    assert [reason.reason for reason in caption.reasons] == ["empty text"]
    assert [reason.examples[0].key for reason in caption.reasons] == [f"sample-{BLANK:03d}"]
    assert caption.reasons[0].examples[0].detail == "3 bytes of white space"
    assert [reason.examples[0].cell for reason in dataset.reasons] == [f"row {TWICE}"]
    assert (image.valid, image.quarantined) == (ROWS - 2, 2)
    assert all(list(feature.reasons) == [] for feature in dataset.features)


def test_examples_are_rows_of_every_split_and_label_with_their_own_media(made: Made) -> None:
    examples = made.data.datasets[0].examples

    assert {sample.split for sample in examples} == {"train", "validation", "test"}
    assert {sample.label for sample in examples} == {"0", "1", "2", "3"}
    for sample in examples:
        caption, picture = sample.media["caption"], sample.media["image"]
        if isinstance(caption, Text):
            assert caption.text.split()[1] == WORDS[int(str(sample.label))]
        if isinstance(picture, Picture):
            quarters = picture.pixels.reshape(2, 8, 2, 8).mean(axis=(1, 3)).ravel()
            assert str(quarters.argmax()) == sample.label


def test_numeric_labels_are_values_where_a_model_regresses_on_them(made: Made) -> None:
    only = made.config | {"models": {"measure-it": made.config["models"]["measure-it"]}}

    dataset = report_data(only, made.results).datasets[0]

    assert dataset.values is not None
    assert sorted(dataset.values) == sorted(i % 4 for i in range(ROWS) if i != TWICE)
    assert list(dataset.labels) == []


def test_the_confusion_matrix_agrees_with_the_accuracy(made: Made) -> None:
    shown = model(made, "name-it")

    assert shown.confusion is not None
    accuracy = next(metric.value for metric in shown.metrics if metric.name == "accuracy")
    assert shown.confusion.counts.sum() == shown.samples == shown.roles["test"]
    assert shown.confusion.counts.trace() / shown.samples == pytest.approx(accuracy)


def test_mistakes_are_shown_with_the_inputs_and_the_most_confident_first(made: Made) -> None:
    mistakes = model(made, "name-it").mistakes

    assert all(mistake.sample.label != mistake.predicted for mistake in mistakes)
    assert all(set(mistake.sample.media) == {"image", "caption"} for mistake in mistakes)
    sure = [mistake.confidence for mistake in mistakes]
    assert sure == sorted(sure, reverse=True)


def test_curves_have_one_point_an_epoch(made: Made) -> None:
    history = model(made, "measure-it").history

    assert history is not None and history.metric is not None
    assert history.epoch.tolist() == [1, 2, 3]
    assert len(history.train_loss) == len(history.metric) == 3


def test_predictions_are_those_of_the_test_samples(made: Made) -> None:
    shown = model(made, "measure-it")

    assert shown.predictions is not None
    mae = next(metric.value for metric in shown.metrics if metric.name == "mae")
    errors = np.abs(shown.predictions.true - shown.predictions.predicted)
    assert errors.mean() == pytest.approx(mae)
    assert len(errors) == shown.samples


def test_a_hit_is_right_just_where_its_content_is_the_querys_own(made: Made) -> None:
    rows = made.results / "squares/index"
    count = read_json(rows / "dataset.json")["rows"]
    own = {f"sample-{row:03d}": f"{('a', 'the')[row // 4 % 2]} {WORDS[row % 4]} 数字"
           for row in range(count)}  # fmt: skip

    images, _ = model(made, "match-it").directions

    assert (images.source, images.target) == ("image", "caption")
    assert images.items == 8
    for query in images.queries:
        for hit in query.hits:
            assert isinstance(hit.media, Text)
            assert hit.right == (hit.media.text == own[query.key])
        assert query.rank is not None
        assert [hit.right for hit in query.hits].count(True) == (1 if query.rank <= 5 else 0)


def test_provenance_gives_whole_digests_versions_seeds_and_the_config(made: Made) -> None:
    provenance = made.data.provenance

    assert set(provenance.digests.values()) == {s.digest for s in Plan.parse(made.config).stages()}
    assert provenance.seeds == {"squares, split": 0} | dict.fromkeys(MODELS, 0)
    assert {"sampan", "python", "torch"} <= set(provenance.versions)
    assert "capacity: 128" in provenance.config
