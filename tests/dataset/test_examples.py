"""A canonical row is shown by what its dimensions say it is."""

import numpy as np
import pytest

from sampan.dataset.examples import shown
from sampan.reporting.data import Picture, Sound, Text


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_raster_is_a_picture_of_the_same_pixels(channels: int) -> None:
    pixels = np.arange(4 * 5 * channels, dtype=np.uint8).reshape(4, 5, channels)

    found = shown(pixels, ("y", "x", "channel"), None)

    assert isinstance(found, Picture)
    assert np.array_equal(found.pixels, pixels)


def test_bytes_are_a_text_in_utf_8() -> None:
    stored = np.frombuffer("数字 👩🏽‍🏫 ü".encode(), np.uint8)

    assert shown(stored, ("byte",), None) == Text(text="数字 👩🏽‍🏫 ü")


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_samples_at_a_rate_are_a_sound(dtype: type) -> None:
    found = shown(np.ones(80, dtype), ("time",), 8000)

    assert isinstance(found, Sound)
    assert (found.rate_hz, found.samples.size) == (8000.0, 80)


@pytest.mark.parametrize("dims", [("byte",), ("time",)])
def test_a_row_without_content_is_shown_as_nothing(dims: tuple[str, ...]) -> None:
    assert shown(np.zeros(0, np.uint8), dims, 8000) is None


def test_anything_else_is_shown_by_its_first_numbers() -> None:
    values = np.linspace(0, 1, 5, dtype=np.float32)

    assert shown(values, ("band",), None) == Text(text="0, 0.25, 0.5, 0.75, 1")
    assert shown(np.zeros((4, 4, 2), np.uint8), ("y", "x", "channel"), None) == Text(
        text="0, 0, 0, 0, 0, 0, …"
    )
