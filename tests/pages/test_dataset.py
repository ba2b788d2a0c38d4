"""A row of an array, and what was cut of rows, in words."""

import pytest

from sampan.execution.decoding import CUT_BY
from sampan.pages.dataset import cut_in_words, row_in_words
from sampan.plugins import ArraySpec


@pytest.mark.parametrize(
    ("spec", "rate_hz", "words"),
    [
        (ArraySpec(("y", "x", "channel"), (32, 32, 1), "uint8"), None, "32 × 32 × 1 uint8"),
        (ArraySpec(("byte",), (64,), "uint8"), None, "64 bytes uint8"),
        (ArraySpec(("time",), (4000,), "int16"), 8000, "4,000 samples int16, 8 kHz"),
        (ArraySpec(("time",), (22050,), "float32"), 22050, "22,050 samples float32, 22.05 kHz"),
        (ArraySpec(("time",), (12,), "float32"), None, "12 float32"),
        (ArraySpec((), (), "float64"), None, "one number float64"),
    ],
)
def test_a_row_is_described_by_its_size_and_type(
    spec: ArraySpec, rate_hz: int | None, words: str
) -> None:
    assert row_in_words(spec, rate_hz) == words


@pytest.mark.parametrize(
    ("tenths", "said"),
    [
        ({}, ""),
        ({3: 5}, "by 30 % or more"),
        ({0: 10, 9: 2}, "half of them by less than 10 %, 2 by 90 % or more"),
        ({0: 5, 9: 6}, "6 by 90 % or more"),
    ],
)
def test_how_much_was_cut_is_said_by_half_of_them_and_by_the_worst(tenths, said):
    notes = {CUT_BY[tenth]: times for tenth, times in tenths.items()}

    assert cut_in_words(notes | {"cut": 1, "padded": 3}) == said
