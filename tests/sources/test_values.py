import datetime
from decimal import Decimal
from unicodedata import normalize

import pytest

from sampan.sources.values import label_of


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
