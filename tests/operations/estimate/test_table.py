import pytest

from sampan.operations.estimate.table import duration, hours


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [(None, "unknown"), (0, "0"), (0.0128, "0.0128"), (1.236, "1.24"), (12345.6, "12,346")],
)
def test_hours_have_about_three_digits(amount, said):
    assert hours(amount) == said
