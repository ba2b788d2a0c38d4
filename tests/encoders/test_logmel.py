import numpy as np
import pytest
from encoders.stored import sounds
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from sampan.encoders import logmel
from sampan.encoders.logmel import Logmel
from sampan.errors import ConfigError


def noise(rows: int, samples: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, (rows, samples)).astype(np.float32)


def of_transformers(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """(frame, band): the log-mel spectrogram at 8 kHz as the transformers library computes it."""
    mel = mel_filter_bank(129, 40, 0, 4000, 8000, norm=None, mel_scale="htk")
    power = spectrogram(
        wave,
        window_function(200, "hann"),
        frame_length=200,
        hop_length=80,
        fft_length=256,
        power=2.0,
        center=False,
        mel_filters=mel,
        dtype=np.float64,
    )
    return np.log(np.maximum(power, 1e-10)).T


def test_moments_are_those_of_another_implementations_spectrogram():
    waves, length = noise(3, 4000), np.array([4000, 1234, 200], np.int32)

    found = Logmel().load(sounds(8000, 0.5), "cpu")(waves, length)

    for row, wave, used in zip(found, waves, length, strict=True):
        bands = of_transformers(wave[:used])
        expected = np.concatenate([bands.mean(axis=0), bands.std(axis=0)])
        np.testing.assert_allclose(row, expected, atol=1e-4)


def test_segments_keep_the_order_of_sounds():
    waves = noise(1, 4040)

    found = Logmel(segments=2).load(sounds(8000, 0.505), "cpu")(waves, None)

    bands = of_transformers(waves[0])
    halves = bands[: len(bands) // 2], bands[len(bands) // 2 :]
    expected = np.concatenate([np.r_[half.mean(axis=0), half.std(axis=0)] for half in halves])
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_the_level_counts_for_nothing_where_it_is_ignored():
    waves, length = noise(2, 4000), np.array([4000, 1300], np.int32)
    encode = Logmel(segments=2, ignore_level=True).load(sounds(8000, 0.5), "cpu")

    louder = encode(5 * waves, length)

    np.testing.assert_allclose(louder, encode(waves, length), atol=1e-4)


def test_what_lies_beyond_the_length_counts_for_nothing():
    clean, dirty = noise(2, 4000), noise(2, 4000)
    length = np.array([1000, 30], np.int32)
    clean[0, 1000:], clean[1, 30:] = 0, 0
    encode = Logmel(segments=3).load(sounds(8000, 0.5), "cpu")

    assert np.array_equal(encode(dirty, length), encode(clean, length))


def test_silence_and_sounds_shorter_than_a_window_are_finite():
    encode = Logmel(segments=4).load(sounds(8000, 0.5), "cpu")
    length = np.array([4000, 100, 1, 0], np.int32)

    found = encode(np.zeros((4, 4000), np.float32), length)

    assert encode.dimensions == 4 * 2 * 40
    np.testing.assert_allclose(found.reshape(4, 4, 2, 40)[:, :, 0], np.log(1e-10), rtol=1e-6)
    np.testing.assert_allclose(found.reshape(4, 4, 2, 40)[:, :, 1], 0, atol=1e-12)


def test_integers_are_the_floats_that_they_stand_for():
    integers = (noise(2, 4000) * 32768).clip(-32768, 32767).astype(np.int16)

    of_integers = Logmel().load(sounds(8000, 0.5, "int16"), "cpu")(integers, None)
    of_floats = Logmel().load(sounds(8000, 0.5), "cpu")(integers / np.float32(32768), None)

    assert np.array_equal(of_integers, of_floats)


def test_blocks_of_a_few_rows_give_what_the_whole_batch_gives(monkeypatch):
    waves, length = noise(5, 4000), np.array([4000, 3000, 250, 10, 4000], np.int32)
    encode = Logmel().load(sounds(8000, 0.5), "cpu")
    whole = encode(waves, length)

    monkeypatch.setattr(logmel, "SPECTRUM_AT_ONCE", 20_000)

    np.testing.assert_allclose(encode(waves, length), whole, rtol=1e-6)


def test_more_bands_than_the_spectrum_can_tell_apart_are_refused():
    with pytest.raises(ConfigError, match=r"bands: 100 fall between.*31\.25 Hz; set fewer bands"):
        Logmel(bands=100).load(sounds(8000, 0.5), "cpu")


def test_a_window_of_less_than_two_samples_is_refused():
    (fault,) = Logmel(window_seconds=0.0001).check(sounds(8000, 0.5))

    assert fault.endswith("are 1 and 80 samples at 8,000 Hz; 2 and 1 are the least")


def test_filters_that_would_fill_the_memory_are_refused_before_they_are_made():
    (fault,) = Logmel(bands=4096, window_seconds=60).check(sounds(1_000_000, 0.5))

    assert "make 137,438,957,568 weights; at most 67,108,864 are allowed" in fault
