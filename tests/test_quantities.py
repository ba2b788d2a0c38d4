import math

import pytest

from sampan.quantities import duration, size


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"), (0.04, "0.0 s"), (4.24, "4.2 s"), (9.94, "9.9 s"), (9.96, "10 s"), (39, "39 s"),
        (59.4, "59 s"), (59.6, "1 min"), (200, "3 min 20 s"), (3599.6, "1 h"),
        (18_420, "5 h 7 min"), (172_799, "2 d"), (187_200, "2 d 4 h"),
        (1e8, "1,157 d 10 h"), (math.inf, "–"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_a_duration_has_its_two_largest_units(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("num_bytes", "said"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_840_000, "1.8 MB"),
        (999_960, "1.0 MB"), (12e9, "12.0 GB"), (3.25e15, "3.2 PB"), (1e19, "10,000.0 PB"),
    ],
)  # fmt: skip
def test_a_size_is_in_powers_of_a_thousand(num_bytes, said):
    assert size(num_bytes) == said
