import numpy as np
import pytest

from sampan.errors import DataError
from sampan.models.targets import class_targets, find_alike, value_targets


def test_classes_are_the_sorted_labels_of_the_rows_used():
    codes, used = np.array([2, 1, -1, 0, 2], np.int32), np.array([1, 1, 1, 0, 1], bool)

    found = class_targets(codes, ["z", "a", "b"], used)

    assert found.names == ("a", "b")
    assert found.codes.tolist() == [1, 0, -1, -1, 1]


def test_one_class_is_no_classification():
    with pytest.raises(DataError, match="labels of the samples used: a;"):
        class_targets(np.zeros(2, np.int32), ["a"], np.ones(2, bool))


def test_values_may_be_written_as_text():
    used = np.array([1, 1, 1, 0], bool)

    found = value_targets([(0, ["1.5", None]), (2, ["-2e3", "x"])], used)

    assert found.values[[0, 2]].tolist() == [1.5, -2000]
    assert np.isnan(found.values[[1, 3]]).all()


def test_labels_that_are_no_numbers_are_listed():
    with pytest.raises(DataError, match=r"2 labels .* 'x' \(row 1\), 'inf' \(row 2\)"):
        value_targets([(0, ["1", "x", "inf"])], np.ones(3, bool))


@pytest.mark.parametrize(
    "label",
    [
        "1e300",
        "-3.5e38",
        "1" + "0" * 400,
        "nan",
        "-inf",
        "12_3",
        "1,5",
        "0x10",
        "yes",
        "",
        "x" * 999,
    ],
)
def test_a_label_that_regression_cannot_use_is_one_line_that_says_what_to_do(label):
    with pytest.raises(DataError) as fault:
        value_targets([(0, ["1", label, "2"])], np.ones(3, bool))

    (line,) = fault.value.faults
    assert line.startswith("1 labels are no finite numbers within ±3.4e+38: '")
    assert "(row 1); regress needs them: mend or scale them, or empty their cells" in line
    assert len(line) < 300


def test_the_largest_label_is_that_of_a_32_bit_float():
    found = value_targets([(0, ["3.4028e38", "-3.4e38"])], np.ones(2, bool))

    assert np.isfinite(found.values).all()


def test_classes_that_look_like_one_are_told():
    found = find_alike(
        [
            "1",
            "1.0",
            "01",
            "cat",
            "Cat",
            "ｃａｔ",
            "New York",
            "New\xa0York",
            "New  York",
            "dog",
            "d\u200bog",
            "12_3",
            "123",
            "nan",
            "NaN",
            "ﬁn",
            "fin",
            "1e3",
            "1000",
            "",
            "猫",
        ]
    )

    assert found == [
        ("1", "1.0", "01"),
        ("cat", "Cat", "ｃａｔ"),
        ("New York", "New\u00a0York", "New  York"),
        ("dog", "d\u200bog"),
        ("nan", "NaN"),
        ("ﬁn", "fin"),
        ("1e3", "1000"),
    ]
