from typing import Any, NotRequired, TypedDict

import pytest

from sampan.storage.shape import Digits, check_of


class Inner(TypedDict):
    bytes: int


class Outer(TypedDict):
    name: str
    share: float
    is_whole: bool
    parts: list[Inner]
    pairs: list[tuple[int, str]]
    files: dict[Digits, Inner]
    more: NotRequired[str | None]
    any: Any


RIGHT = {
    "name": "n",
    "share": 1,
    "is_whole": True,
    "parts": [{"bytes": 1}, {"bytes": 2, "unknown": []}],
    "pairs": [[1, "a"]],
    "files": {"12": {"bytes": 0}},
    "any": None,
}


@pytest.mark.parametrize("more", [{}, {"more": None}, {"more": "text"}, {"unknown": 1}])
def test_what_has_the_shape_is_right_and_members_that_it_does_not_name_are_left_alone(more):
    assert check_of(Outer)(RIGHT | more) is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"name": 1}, "name: is 1, not text"),
        ({"share": "x"}, "share: is text, not a number"),
        ({"share": True}, "share: is true or false, not a number"),
        ({"is_whole": 1}, "is_whole: is 1, not true or false"),
        ({"parts": {}}, "parts: is an object, not a list"),
        ({"parts": [{"bytes": 1}, {}]}, "parts.1.bytes: is missing"),
        ({"parts": [{"bytes": -1}]}, "parts.0.bytes: is -1, not a whole number"),
        ({"parts": [{"bytes": True}]}, "parts.0.bytes: is true or false, not a whole number"),
        (
            {"parts": [{"bytes": 2**63}]},
            "parts.0.bytes: is 9223372036854775808, not a whole number",
        ),
        ({"parts": [{"bytes": 1.0}]}, "parts.0.bytes: is 1.0, not a whole number"),
        ({"pairs": [[1]]}, "pairs.0: is a list, not a list of 2"),
        ({"pairs": [["a", 1]]}, "pairs.0.0: is text, not a whole number"),
        ({"files": {"x": {"bytes": 0}}}, "files.'x': is text, not a number"),
        ({"more": 3}, "more: is 3, not text"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change, fault):
    assert check_of(Outer)(RIGHT | change) == fault


@pytest.mark.parametrize("value", [None, [], 1, "x", True])
def test_what_is_no_object_is_said(value):
    assert check_of(Outer)(value).endswith("not an object")
