import datetime
import uuid
from decimal import Decimal
from unicodedata import normalize

import pytest

from sampan.errors import InvalidSample
from sampan.sources.values import cell_of, label_of, text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None), ("", None), (float("nan"), None), (Decimal("NaN"), None),
        ("NaN", "NaN"), (" a ", " a "), (0, "0"), (False, "False"), (1.5, "1.5"), (1e300, "1e+300"),
        (Decimal("1E+3"), "1000"), (Decimal("-0.50"), "-0.50"), (b"\xc3\xa4", "ä"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (datetime.datetime(2024, 2, 29, 1, 2, 3), "2024-02-29T01:02:03"),
        (datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), "2024-01-01T00:00:00+00:00"),
        (datetime.time(1, 2, 3), "01:02:03"),
        (datetime.timedelta(days=1, seconds=3_661), "P1DT1H1M1S"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)  # fmt: skip
def test_a_value_has_one_text_or_none(value, text):
    assert text_of(value) == text


@pytest.mark.parametrize("value", [[], ["a"], {"a": 1}, [("a", 1)], b"\xff"])
def test_what_holds_more_than_one_value_or_no_text_is_no_text(value):
    with pytest.raises(InvalidSample, match="it holds "):
        text_of(value)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (b"\xff", b"\xff"), ("a", "a"), (["a", "b"], "a, b"), (["a", None], '["a", null]'),
        ([("k", 1)], '[["k", 1]]'), ({"a": datetime.date(2024, 1, 1)}, '{"a": "2024-01-01"}'),
        ({"a": [Decimal("1.50")]}, '{"a": ["1.50"]}'), (datetime.date(2024, 1, 1), "2024-01-01"),
        ({"bytes": b"x", "path": "p"}, b"x"), ({"bytes": None, "path": "p"}, "p"),
        ({"bytes": b"x"}, b"x"), ({"bytes": b"", "path": None}, b""),
        ({"bytes": 1, "length": 2}, '{"bytes": 1, "length": 2}'),
    ],
)  # fmt: skip
def test_a_cell_is_text_or_bytes(value, cell):
    assert cell_of(value) == cell


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([b"a"], "give each a row or a column"),
        ({"a": b"x"}, "name a field, such as column.bytes"),
        ([{"bytes": b"", "path": None}], "give each a row or a column"),
    ],
)
def test_bytes_inside_of_a_list_or_an_object_have_no_text(value, change):
    with pytest.raises(InvalidSample, match=f"bytes are inside of a list or object; .*{change}"):
        cell_of(value)


@pytest.mark.parametrize(
    "values",
    [
        (1, 1.0, "1", " 1\n", Decimal("1.00"), b"1"),
        (0, 0.0, -0.0, "0"),
        (-3, -3.0, "-3", Decimal(-3)),
        (0.5, "0.5", Decimal("0.500")),
        (True, "True"),
        (normalize("NFC", "café"), normalize("NFD", "café"), "\ufeffcafé", "café\u200b"),
        ("cat", " cat", "cat\xa0", "cat\t", "cat\0\0", "\u3000cat"),
    ],
    ids=str,
)
def test_one_value_in_several_types_and_forms_is_one_label(values):
    assert {label_of(value) for value in values} == {label_of(values[0])}


@pytest.mark.parametrize(
    "values",
    [("1", "01", "1.0", "1.00", "+1"), ("True", "true", "TRUE"), ("a b", "a  b"), ("ﬁ", "fi")],
)
def test_what_is_written_differently_in_a_text_stays_different(values):
    assert len({label_of(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [None, "", " ", "\ufeff", float("nan"), Decimal("nan"), b""])
def test_there_may_be_no_label(value):
    assert label_of(value) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Grüße", "Grüße"),
        (7, "7"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (1e15, "1000000000000000"),
        (1e16, "1e+16"),
        (float("inf"), "inf"),
        (Decimal("1E+999999"), "1E+999999"),
        (True, "True"),
        (datetime.date(2024, 1, 2), "2024-01-02"),
    ],
)
def test_other_labels_are_written_as_python_writes_them(value, text):
    assert label_of(value) == text
