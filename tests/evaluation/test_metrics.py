import numpy as np
import pytest
from sklearn import metrics

from sampan.evaluation import bootstrap
from sampan.evaluation.metrics import (
    classification_metrics,
    confusion_matrix,
    regression_metrics,
)


@pytest.fixture
def classes():
    generator = np.random.default_rng(0)
    right = generator.integers(0, 7, size=300)
    wrong = generator.random(300) < 0.3
    return right, np.where(wrong, generator.integers(0, 8, size=300), right)


@pytest.fixture
def values():
    generator = np.random.default_rng(0)
    right = generator.normal(10, 3, size=200)
    return right, right + generator.normal(size=200)


def test_accuracy_and_macro_f1_agree_with_scikit_learn(classes):
    found = classification_metrics(*classes, num_classes=9, resamples=100, seed=0)

    assert found["accuracy"]["value"] == pytest.approx(metrics.accuracy_score(*classes))
    assert found["macro_f1"]["value"] == pytest.approx(metrics.f1_score(*classes, average="macro"))


def test_intervals_agree_with_those_of_scikit_learn_on_drawn_samples(classes):
    right, predicted = classes
    numbers = np.random.Generator(np.random.PCG64(5)).integers(300, size=(2000, 300))
    scores = [metrics.f1_score(right[n], predicted[n], average="macro") for n in numbers]

    found = classification_metrics(right, predicted, num_classes=9, resamples=20_000, seed=5)

    low, high = np.quantile(scores, [0.025, 0.975])
    assert found["macro_f1"]["low"] == pytest.approx(low, abs=0.005)
    assert found["macro_f1"]["high"] == pytest.approx(high, abs=0.005)


def test_intervals_of_many_samples_cost_what_those_of_few_do(monkeypatch):
    def drawn(*_, **__):
        pytest.fail("a number for each sample was drawn")

    right = np.random.default_rng(0).integers(0, 3, size=10_000_000)
    monkeypatch.setattr(bootstrap, "intervals", drawn)

    found = classification_metrics(
        right, right ^ (right > 1), num_classes=4, resamples=1000, seed=0
    )

    width = found["accuracy"]["high"] - found["accuracy"]["low"]
    assert width == pytest.approx(2 * 1.96 * (2 / 9 / 10_000_000) ** 0.5, rel=0.1)


def test_the_confusion_matrix_agrees_with_scikit_learn(classes):
    expected = metrics.confusion_matrix(*classes, labels=range(9))

    assert (confusion_matrix(*classes, num_classes=9) == expected).all()


def test_r2_and_mae_agree_with_scikit_learn(values):
    found = regression_metrics(*values, resamples=100, seed=0)

    assert found["r2"]["value"] == pytest.approx(metrics.r2_score(*values))
    assert found["mae"]["value"] == pytest.approx(metrics.mean_absolute_error(*values))
    assert found["r2"]["low"] < found["r2"]["value"] < found["r2"]["high"]


@pytest.mark.parametrize("predicted", [[2.0, 2.0], [2.0, 3.0]])
def test_r2_of_equal_values_is_that_of_scikit_learn(predicted):
    right = np.array([2.0, 2.0])

    found = regression_metrics(right, np.array(predicted), resamples=100, seed=0)

    assert found["r2"]["value"] == metrics.r2_score(right, predicted)


def test_memory_is_bounded_by_cutting_the_resamples(classes, monkeypatch):
    whole = classification_metrics(*classes, num_classes=9, resamples=100, seed=0)
    monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", 300 * 9)

    cut = classification_metrics(*classes, num_classes=9, resamples=100, seed=0)

    assert cut == whole


def test_a_perfect_score_on_few_samples_has_a_wide_interval():
    right = np.repeat([0, 1], [30, 10])

    found = classification_metrics(right, right, num_classes=2, resamples=100, seed=0)

    assert found["accuracy"] == pytest.approx({"value": 1, "low": 0.025 ** (1 / 40), "high": 1})
    of_classes = (0.025 ** (1 / 30) + 0.025 ** (1 / 10)) / 2
    assert found["macro_f1"] == pytest.approx({"value": 1, "low": of_classes, "high": 1})


def test_where_every_sample_is_wrong_the_interval_reaches_up():
    right = np.repeat([0, 1], 10)

    found = classification_metrics(right, 1 - right, num_classes=2, resamples=100, seed=0)

    assert found["accuracy"] == pytest.approx({"value": 0, "low": 0, "high": 1 - 0.025 ** (1 / 20)})
    assert found["macro_f1"] == pytest.approx({"value": 0, "low": 0, "high": 1 - 0.025 ** (1 / 10)})
