"""A row of an array in words."""

import pytest

from sampan.plugins import ArraySpec
from sampan.steps.report.dataset import row_in_words


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
