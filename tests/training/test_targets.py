import numpy as np
import pytest

from sampan.errors import DataError
from sampan.training.targets import class_targets, value_targets


def test_classes_are_the_sorted_labels_of_the_rows_used():
    found = class_targets(["b", "a", None, "z", "b"], np.array([0, 1, 4]))

    assert found.names == ("a", "b")
    assert found.codes.tolist() == [1, 0, -1, -1, 1]


def test_one_class_is_no_classification():
    with pytest.raises(DataError, match="labels of the samples used: a;"):
        class_targets(["a", "a"], np.array([0, 1]))


def test_values_may_be_written_as_text():
    found = value_targets(["1.5", None, "-2e3", "x"], np.array([0, 2]))

    assert found.values[[0, 2]].tolist() == [1.5, -2000]
    assert np.isnan(found.values[[1, 3]]).all()


def test_labels_that_are_no_numbers_are_listed():
    with pytest.raises(DataError, match=r"2 labels .* 'x' \(row 1\), 'inf' \(row 2\)"):
        value_targets(["1", "x", "inf"], np.array([0, 1, 2]))
