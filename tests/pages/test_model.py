"""Metrics in an order that reads well, curves, and confusion matrices of few and many classes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sampan.config.split import SplitSettings
from sampan.pages.model import (
    CLASSES_DRAWN,
    confusion_of,
    history_of,
    in_words,
    metrics_of,
    split_in_words,
)

VALUE = {"value": 0.5, "low": 0.4, "high": 0.6}


def predictions(path: Path, label: list[str], predicted: list[str]) -> Path:
    pq.write_table(pa.table({"label": label, "predicted": predicted}), path)
    return path


def test_metrics_come_by_direction_of_the_inputs_with_recall_by_k() -> None:
    found = {
        f"{direction}/{name}": VALUE
        for direction in ("caption→image", "image→caption")
        for name in ("median_rank", "recall_at_1", "recall_at_10", "recall_at_5")
    }

    names = [metric.name for metric in metrics_of(found, {}, ("image", "caption"))]

    last = ["recall_at_1", "recall_at_5", "recall_at_10", "median_rank"]
    assert names == [f"{d}/{n}" for d in ("image→caption", "caption→image") for n in last]


def test_chance_stands_beside_the_metrics_it_is_known_for() -> None:
    found = metrics_of({"macro_f1": VALUE, "accuracy": VALUE}, {"accuracy": 0.1}, ("image",))

    assert [(metric.name, metric.chance) for metric in found] == [
        ("accuracy", 0.1),
        ("macro_f1", None),
    ]


def test_a_model_that_was_not_trained_has_no_curves() -> None:
    assert history_of({"epochs": [], "best_epoch": 0, "metric": ""}) is None


@pytest.mark.parametrize(("most", "ended_best"), [(2, True), (3, False)])
def test_whether_the_last_epoch_was_the_best_follows_from_the_runs_length(
    most: int, ended_best: bool
) -> None:
    losses = {"train_loss": 1.0, "validation_loss": 1.0, "validation_metric": 0.5}
    lines = [{"epoch": epoch, **losses} for epoch in (1, 2)]

    found = history_of(
        {"epochs": lines, "best_epoch": 2, "metric": "accuracy", "length": {"epochs": most}}
    )

    assert found is not None and found.ended_best is ended_best


def test_a_confusion_matrix_has_true_classes_as_rows_in_their_natural_order(
    tmp_path: Path,
) -> None:
    path = predictions(tmp_path / "p.parquet", ["2", "10", "2", "2"], ["2", "2", "10", "10"])

    found = confusion_of(path, ["10", "2", "3"])

    assert list(found.labels) == ["2", "3", "10"]
    assert np.array_equal(found.counts, [[1, 0, 2], [0, 0, 0], [1, 0, 0]])


def test_of_many_classes_those_that_are_confused_most_are_kept(tmp_path: Path) -> None:
    classes = [f"class-{number:03d}" for number in range(200)]
    label = [*classes, *["class-150"] * 9, *["class-199"] * 4]
    predicted = [*classes, *["class-007"] * 9, *["class-150"] * 4]

    found = confusion_of(predictions(tmp_path / "p.parquet", label, predicted), classes)

    assert len(found.labels) == CLASSES_DRAWN and found.of == 200
    places = [list(found.labels).index(f"class-{number}") for number in ("007", "150", "199")]
    assert found.counts[places[1], places[0]] == 9
    assert found.counts[places[2], places[1]] == 4


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (SplitSettings(test=0.3, seed=1), "validation 0.1, test 0.3, seed 1"),
        (SplitSettings(validation=0.2, test=("theo", "jan")),
         "validation 0.2, test theo + jan, seed 0"),
        (SplitSettings(column="fold"), "column fold"),
    ],
)  # fmt: skip
def test_a_split_is_said_in_words(split: SplitSettings, words: str) -> None:
    assert split_in_words(split) == words


@pytest.mark.parametrize(
    ("setting", "used", "said"),
    [("auto", 32, "auto: 32"), ("auto", None, "auto"), (16, 16, 16), (None, None, "default")],
)
def test_what_was_left_to_the_number_of_samples_says_what_it_came_to(
    setting: object, used: object, said: object
) -> None:
    assert in_words(setting, used) == said
