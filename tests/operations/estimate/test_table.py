import pytest

from sampan.operations.estimate.table import hours


@pytest.mark.parametrize(
    ("amount", "said"),
    [(None, "unknown"), (0, "0"), (0.0128, "0.0128"), (1.236, "1.24"), (12345.6, "12,346")],
)
def test_hours_have_about_three_digits(amount, said):
    assert hours(amount) == said
