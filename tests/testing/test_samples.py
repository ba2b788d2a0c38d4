import io

import PIL.Image
import pytest
import soundfile

from sampan.testing import samples


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_an_image_has_the_format_and_size_asked_for(file_format):
    with PIL.Image.open(io.BytesIO(samples.image(file_format, height=10, width=20))) as image:
        assert (image.format, image.size) == (file_format, (20, 10))


@pytest.mark.parametrize("file_format", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_tone_has_the_format_rate_and_channels_asked_for(file_format):
    source = samples.tone(file_format, seconds=0.5, rate_hz=16_000, channels=2)

    with soundfile.SoundFile(io.BytesIO(source)) as sound:
        assert (sound.format, sound.samplerate, sound.channels) == (file_format, 16_000, 2)


def test_another_seed_gives_another_image_and_the_same_seed_the_same():
    assert samples.image(seed=1) == samples.image(seed=1) != samples.image(seed=2)
