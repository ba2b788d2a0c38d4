import pytest

from sampan.modalities.codecs.mpeg import first_frame
from sampan.testing import samples


def id3(num_bytes, claimed=None):
    size = num_bytes if claimed is None else claimed
    return (
        b"ID3\4\0\0" + bytes(size >> 7 * shift & 127 for shift in (3, 2, 1, 0)) + bytes(num_bytes)
    )


APE = b"APETAGEX" + (2_000).to_bytes(4, "little") + (10).to_bytes(4, "little") + bytes(26)


@pytest.mark.parametrize(
    "before",
    [
        b"",
        bytes(700),
        id3(100),
        id3(100) + bytes(700),
        id3(50) + id3(60),
        id3(50) + APE,
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\xff" * 100,
        b"\xff\xfb\x90\x64" + bytes(20),
        id3(50, claimed=2**20),
    ],
)
def test_sound_begins_at_the_first_of_several_frames_that_fit(before):
    assert first_frame(before + samples.tone("MP3")) == len(before)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_of_every_version_are_known(rate_hz, channels):
    mp3 = samples.tone("MP3", rate_hz=rate_hz, channels=channels)

    assert first_frame(bytes(33) + mp3) == 33


@pytest.mark.parametrize("name", ["12oz.mp3", "silence-22khz-mono-1s.mp3"])
def test_a_recording_has_its_frames_where_its_tags_end(data, name):
    mp3 = (data / "odd/audio" / name).read_bytes()

    assert mp3[first_frame(mp3)] == 0xFF


@pytest.mark.parametrize(
    "file", [b"", b"ID3", bytes(5_000), b"\xff\xfb" * 3_000, *map(samples.image, ("PNG", "JPEG"))]
)
def test_other_bytes_have_no_frame(file):
    assert first_frame(file) is None
