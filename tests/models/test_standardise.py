import numpy as np
import pytest

from sampan.errors import DataError
from sampan.models import standardise
from sampan.models.features import ArrayFeatures
from sampan.models.standardise import learn_standardisation


def test_mean_and_deviation_are_those_of_the_rows_however_they_are_cut(monkeypatch):
    values = np.random.default_rng(0).normal(1000, 2, size=(101, 5)).astype(np.float32)
    rows = np.arange(0, 101, 2)
    monkeypatch.setattr(standardise, "ROWS_AT_ONCE", 7)

    found = learn_standardisation(ArrayFeatures(array=values), rows)

    assert found.mean == pytest.approx(values[rows].astype(float).mean(axis=0))
    assert found.deviation == pytest.approx(values[rows].astype(float).std(axis=0), rel=1e-6)


def test_only_the_given_rows_are_read():
    values = np.random.default_rng(0).normal(size=(30, 2))
    spoilt = np.full_like(values, np.nan)
    rows = np.array([3, 5, 7])
    spoilt[rows] = values[rows]

    found = learn_standardisation(ArrayFeatures(array=spoilt), rows)

    assert found.mean == pytest.approx(values[rows].mean(axis=0))


def test_a_dimension_that_hardly_varies_is_not_blown_up():
    values = np.random.default_rng(0).normal(size=(500, 3))
    values[:, 1] *= 1e-6
    values[:, 2] = 4

    found = learn_standardisation(ArrayFeatures(array=values), np.arange(500))

    floor = 0.1 * np.sqrt((values.std(axis=0) ** 2).mean())
    assert found.deviation == pytest.approx([values[:, 0].std(), floor, floor])


def test_features_that_never_vary_are_left_at_their_size():
    found = learn_standardisation(ArrayFeatures(array=np.full((9, 2), 3.0)), np.arange(9))

    assert found.deviation.tolist() == [1, 1]


def test_features_that_are_not_finite_are_an_error():
    values = np.ones((4, 2))
    values[2, 1] = np.nan

    with pytest.raises(DataError, match="1 training samples"):
        learn_standardisation(ArrayFeatures(array=values), np.arange(4))
