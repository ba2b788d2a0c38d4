"""The report of a small run with one broken image, one blank caption and one repeated key."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from reporting.html_check import Page
from steps.report_run import BLANK, BROKEN, ROWS, TWICE, WORDS, config_of, make, make_source

from sampan.cli import main
from sampan.plan import Plan
from sampan.reporting.data import ModelReport, Picture, ReportData, Text
from sampan.steps.report import report_data
from sampan.store.durable import read_json

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


def write(config: dict[str, Any], results: Path, out: Path) -> int:
    spec = json.dumps({"config": config})
    return main(["report", "--spec", spec, "--results", str(results), "--out", str(out)])


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
