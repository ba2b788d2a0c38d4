import numpy as np
import pytest

from sampan.errors import DataError
from sampan.training.roles import ROLES, assign_roles


@pytest.fixture
def roles():
    return assign_roles(
        np.array([0, 1, 2, -1, 0, 0, 0, 0], np.int8),
        valid={
            "image.hog": np.array([1, 1, 1, 1, 0, 1, 1, 0], dtype=bool),
            "tone.logmel": np.array([1, 1, 1, 1, 0, 1, 0, 1], dtype=bool),
        },
        labelled=np.array([1, 1, 1, 0, 1, 0, 1, 1], dtype=bool),
        unusable=(np.array([-1, -1, -1, -1, -1, -1, -1, 0], np.int32), ["missing file"]),
    )


def test_every_row_has_a_role_and_those_left_out_a_reason(roles):
    named = [
        (ROLES[role], roles.reason_names[reason])
        for role, reason in zip(roles.roles, roles.reasons, strict=True)
    ]

    assert named == [
        ("train", ""),
        ("validation", ""),
        ("test", ""),
        ("left out", "split: none"),
        ("left out", "image.hog is not valid"),
        ("left out", "no label"),
        ("left out", "tone.logmel is not valid"),
        ("left out", "missing file"),
    ]


def test_rows_of_a_role_are_listed_in_order(roles):
    assert roles.rows("left out").tolist() == [3, 4, 5, 6, 7]
    assert roles.rows("test").tolist() == [2]


def test_roles_and_reasons_are_counted(roles):
    assert roles.counts() == {"train": 1, "validation": 1, "test": 1, "left out": 5}
    assert roles.reason_counts() == {
        "missing file": 1,
        "split: none": 1,
        "no label": 1,
        "image.hog is not valid": 1,
        "tone.logmel is not valid": 1,
    }


def test_a_task_without_labels_asks_for_none():
    found = assign_roles(np.zeros(1, np.int8), valid={"a.b": np.array([True])})

    assert found.counts()["train"] == 1


def test_an_empty_role_is_an_error_with_the_counts():
    found = assign_roles(np.array([0, 2], np.int8), valid={"a.b": np.array([True, False])})

    with pytest.raises(DataError) as fault:
        found.require("train", "validation", "test")

    assert str(fault.value) == (
        "no samples for validation and test (rows: train 1, validation 0, test 0, left out 1; "
        "left out because a.b is not valid: 1); change the split, or see the quarantine for "
        "what is not valid"
    )
