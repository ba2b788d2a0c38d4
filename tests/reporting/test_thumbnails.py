"""Thumbnails hold the picture's own pixels; spectrograms show where the energy is."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from sampan.reporting.data import Picture, Sound
from sampan.reporting.thumbnails import (
    LIMIT,
    Thumbnail,
    picture_thumbnail,
    sound_thumbnail,
    spectrogram,
)


def decoded(thumbnail: Thumbnail) -> np.ndarray:
    data = base64.b64decode(thumbnail.address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("shape", [(8, 8), (8, 5, 1), (8, 8, 3), (3, 8, 4)])
def test_a_tiny_picture_keeps_its_pixels_and_is_enlarged_by_a_whole_factor(
    shape: tuple[int, ...],
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    thumbnail = picture_thumbnail(Picture(pixels=pixels), 64)

    assert np.array_equal(decoded(thumbnail), pixels[:, :, 0] if shape[2:] == (1,) else pixels)
    assert (thumbnail.height, thumbnail.width) == (shape[0] * 8, shape[1] * 8)
    assert thumbnail.pixelated


def test_a_large_picture_is_made_smaller_in_its_own_proportions() -> None:
    thumbnail = picture_thumbnail(Picture(pixels=np.zeros((300, 600, 3), np.uint8)), 64)

    assert decoded(thumbnail).shape == (LIMIT // 2, LIMIT, 3)
    assert (thumbnail.height, thumbnail.width) == (32, 64)
    assert not thumbnail.pixelated


def test_a_tone_is_brightest_at_its_frequency() -> None:
    time = np.arange(4000) / 8000
    level = spectrogram(np.sin(2 * np.pi * 1000 * time))

    assert (level.argmax(axis=0) == round(1000 / 8000 * 256)).all()
    assert level.max() == pytest.approx(1)


def test_a_tone_stands_out_of_steady_noise() -> None:
    time = np.arange(4000) / 8000
    noise = np.random.default_rng(0).normal(0, 1, time.size)
    level = spectrogram(np.sin(2 * np.pi * 1000 * time) + noise)

    assert (level == 0).mean() >= 0.5
    assert level[round(1000 / 8000 * 256)].mean() > 0.8


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(5, np.int16),
        np.ones(1),
        np.array([np.nan, np.inf, 0.5]),
        np.full(100_000, -32768, np.int16),
    ],
)
def test_silence_and_odd_recordings_still_make_a_picture(samples: np.ndarray) -> None:
    thumbnail = sound_thumbnail(Sound(samples=samples, rate_hz=8000))

    assert decoded(thumbnail).shape == (LIMIT // 2, LIMIT, 3)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 2)),
        np.zeros((2, 2, 2), np.uint8),
        np.zeros((0, 2), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture"):
        Picture(pixels=pixels)
