import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from sampan.errors import InvalidSample
from sampan.modalities.audio import SHIFTED, Audio
from sampan.modalities.codecs.riff import COUNTED, UNKNOWN
from sampan.plugins import Shortened
from sampan.testing import samples
from sampan.testing.modalities import ModalityConformance, decoded

NOT_USABLE = {
    "detect_wav.x": "corrupt audio",
    "empty_file.mp3": "empty file",
    "header_only.wav": "no sound",
    "id3_comment_utf_16_double_bom.mp3": "not audio",
    "incomplete.mp3": "not audio",
    "invalid_sample_rate.aiff": "corrupt audio",
    "truncated_data.wav": "truncated WAV",
    "truncated_header.wav": "corrupt audio",
    "zero_bytes.wav": "empty file",
}


class TestAudio(ModalityConformance):
    @pytest.fixture
    def plugin(self):
        return Audio(rate_hz=8_000, seconds=0.4)

    @pytest.fixture
    def good(self):
        return [
            samples.tone("WAV"),
            samples.tone("WAV", subtype="FLOAT", channels=2, rate_hz=44_100),
            samples.tone("FLAC", seconds=0.2),
            samples.tone("OGG", subtype="VORBIS"),
            samples.tone("OGG", subtype="OPUS"),
            samples.tone("MP3"),
        ]

    @pytest.fixture
    def bad(self):
        return [*samples.no_files(), samples.tone(seconds=0), samples.tone()[:-2]]


class TestAudioInSixteenBit(TestAudio):
    @pytest.fixture
    def plugin(self):
        return Audio(rate_hz=8_000, seconds=0.4, dtype="int16")


def wav(sound, rate_hz=8_000, subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, sound, rate_hz, format="WAV", subtype=subtype)
    return file.getvalue()


def noise(number, seed=0):
    return np.random.default_rng(seed).integers(-32_768, 32_768, number, dtype=np.int16)


def test_sixteen_bit_sound_of_the_stored_rate_is_stored_exactly():
    sound = noise(800)

    row, told = decoded(Audio(rate_hz=8_000, seconds=0.1, dtype="int16"), wav(sound))

    assert told == (800, ())
    np.testing.assert_array_equal(row, sound)


def test_float_has_its_full_scale_at_one():
    row, _ = decoded(Audio(rate_hz=8_000, seconds=0.1), wav(noise(800)))

    np.testing.assert_array_equal(row, noise(800) / np.float32(32_768))


def test_channels_are_averaged():
    sound = np.array([[0.5, -0.5], [0.25, 0.75]] * 400)

    row, _ = decoded(Audio(rate_hz=8_000, seconds=0.1), wav(sound, subtype="FLOAT"))

    np.testing.assert_array_equal(row, [0.0, 0.5] * 400)


@pytest.mark.parametrize("source_rate_hz", [8_000, 22_050, 44_100, 96_000])
def test_a_tone_of_another_rate_is_the_same_tone(source_rate_hz):
    source = samples.tone(frequency_hz=440, seconds=0.5, rate_hz=source_rate_hz, subtype="FLOAT")

    row, told = decoded(Audio(rate_hz=16_000, seconds=0.5), source)

    assert told == (8_000, ())
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 16_000)
    np.testing.assert_allclose(row[500:-500], wanted[500:-500], atol=1e-4)


@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("WAV", "PCM_24")],
)
def test_every_format_keeps_the_pitch_and_the_level_of_a_tone(file_format, subtype):
    source = samples.tone(
        file_format, subtype=subtype, frequency_hz=440, seconds=1.0, rate_hz=48_000
    )

    row, _ = decoded(Audio(rate_hz=16_000, seconds=1.0), source)

    middle = row[4_000:12_000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * 16_000 / len(middle) == pytest.approx(440, abs=2)
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_longer_sound_is_cut_and_noted():
    row, told = decoded(Audio(rate_hz=8_000, seconds=0.05, dtype="int16"), wav(noise(800)))

    assert told == (400, ("cut",))
    np.testing.assert_array_equal(row, noise(800)[:400])


def test_shorter_sound_is_padded_and_noted():
    row, told = decoded(Audio(rate_hz=8_000, seconds=0.2, dtype="int16"), wav(noise(800)))

    assert told == (800, ("padded",))
    np.testing.assert_array_equal(row[:800], noise(800))
    assert not row[800:].any()


@pytest.mark.parametrize("rates", [(44_100, 8_000), (8_000, 44_100)])
def test_a_cut_does_not_change_the_sound_before_it(rates):
    source_rate_hz, rate_hz = rates
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, source_rate_hz).astype(np.float32)

    row, _ = decoded(
        Audio(rate_hz=rate_hz, seconds=0.25), wav(sound, source_rate_hz, subtype="FLOAT")
    )

    whole = soxr.resample(sound, source_rate_hz, rate_hz, quality="HQ")
    np.testing.assert_allclose(row, whole[: rate_hz // 4], atol=1e-5)


def test_no_more_is_decoded_than_the_row_needs():
    flac = samples.tone("FLAC", seconds=10, rate_hz=8_000)

    _, told = decoded(Audio(rate_hz=8_000, seconds=0.5), flac[: len(flac) // 2])

    assert told == (4_000, ("cut",))


def test_a_flac_file_that_ends_early_is_refused():
    flac = samples.tone("FLAC", seconds=10, rate_hz=8_000)

    with pytest.raises(InvalidSample, match=r"truncated FLAC|corrupt audio"):
        decoded(Audio(rate_hz=8_000, seconds=10), flac[: len(flac) // 2])


def test_a_sample_beyond_full_scale_is_clipped_and_noted():
    loud = wav(np.array([2.0, -2.0, 0.5, 0.0]), subtype="FLOAT")

    row, told = decoded(Audio(rate_hz=8_000, seconds=0.0005, dtype="int16"), loud)

    assert row.tolist() == [32_767, -32_768, 16_384, 0]
    assert told.notes == ("clipped",)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(value):
    sound = np.zeros(100)
    sound[42] = value

    with pytest.raises(InvalidSample, match="not finite: sample 42 is"):
        decoded(Audio(rate_hz=8_000, seconds=0.1), wav(sound, subtype="DOUBLE"))


@pytest.mark.parametrize("rate_hz", [0, 1, 2_000_000, 0xFFFFFFFF])
def test_an_unusable_rate_is_refused(rate_hz):
    source = samples.tone()

    with pytest.raises(InvalidSample, match=r"rate|corrupt audio"):
        decoded(
            Audio(rate_hz=8_000, seconds=0.1),
            source[:24] + struct.pack("<I", rate_hz) + source[28:],
        )


def test_another_format_of_libsndfile_is_refused_by_name():
    with pytest.raises(InvalidSample, match="unsupported format: AIFF; convert to WAV, FLAC"):
        decoded(Audio(rate_hz=8_000, seconds=0.1), samples.tone("AIFF"))


def test_less_than_one_stored_sample_is_refused_with_what_to_set():
    with pytest.raises(ValueError, match=r"set seconds to 0\.001 or more"):
        Audio(rate_hz=1_000, seconds=0.0001)


def test_every_odd_sound_is_stored_or_refused_with_its_reason(data):
    for path in sorted((data / "odd/audio").iterdir()):
        try:
            row, told = decoded(Audio(rate_hz=16_000, seconds=1.0), path.read_bytes())
        except InvalidSample as verdict:
            assert str(verdict).startswith(NOT_USABLE[path.name])
        else:
            assert path.name not in NOT_USABLE
            assert np.isfinite(row).all()
            assert told.length > 0


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("pcm24_mono.wav", 0), ("odd_length_data.wav", 0), ("mp3_named.wav", 1e-6)],
)
def test_an_odd_sound_is_stored_as_soundfile_reads_it(data, name, tolerance):
    path = data / "odd/audio" / name
    with path.open("rb") as file:
        sound, rate_hz = soundfile.read(file, dtype="float32")

    row, told = decoded(Audio(rate_hz=rate_hz, seconds=2.0), path.read_bytes())

    np.testing.assert_allclose(row[: told.length], sound, rtol=0, atol=tolerance)


def test_a_wav_file_of_a_stream_is_read_to_its_end(data):
    stream = data / "odd/audio/size_ffffffff.wav"
    same = data / "odd/audio/pcm24_mono.wav"
    plugin = Audio(rate_hz=8_000, seconds=1.0, dtype="int16")

    assert decoded(plugin, stream.read_bytes())[1] == (4_301, (UNKNOWN, "padded"))
    np.testing.assert_array_equal(
        decoded(plugin, stream.read_bytes())[0], decoded(plugin, same.read_bytes())[0]
    )


@pytest.mark.parametrize("name", ["7fffffff.wav", "header-counted-44.wav"])
def test_the_sound_of_a_stream_is_that_of_the_same_file_with_its_size(data, name):
    source = (Path(data).parent / "cases/wav_claims/snd" / name).read_bytes()
    plugin = Audio(rate_hz=8_000, seconds=4.0)
    at = source.index(b"data") + 4
    sized = source[:at] + struct.pack("<I", len(source) - at - 4) + source[at + 4 :]

    row, told = decoded(plugin, source)

    np.testing.assert_array_equal(row, decoded(plugin, sized)[0])
    assert told.notes[0] in (UNKNOWN, COUNTED)
    assert told.length == decoded(plugin, sized)[1].length > 0


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW"])
@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_no_size_of_a_stream_loses_its_sound(subtype, size):
    source = samples.tone("WAV", subtype=subtype)
    at = source.index(b"data") + 4
    stream = source[:4] + bytes(4) + source[8:at] + struct.pack("<I", size) + source[at + 4 :]
    plugin = Audio(rate_hz=16_000, seconds=0.5)

    row, told = decoded(plugin, stream)

    np.testing.assert_array_equal(row, decoded(plugin, source)[0])
    assert told == (8_000, (UNKNOWN,))


def test_a_stream_of_64_bit_sizes_is_read_to_its_end():
    source = samples.tone("RF64")
    at = source.index(b"ds64") + 8
    plugin = Audio(rate_hz=16_000, seconds=0.5)

    row, told = decoded(plugin, source[:at] + b"\xff" * 16 + source[at + 16 :])

    np.testing.assert_array_equal(row, decoded(plugin, source)[0])
    assert told.notes == (UNKNOWN,)
    with pytest.raises(InvalidSample, match="truncated WAV: 16,000 bytes of sound claimed, 15,900"):
        decoded(plugin, source[:-100])


@pytest.mark.parametrize("before", [bytes(500), b"HTTP/1.1 200 OK\r\n\r\n", b"\xff" * 9])
def test_what_lies_before_the_sound_of_an_mp3_is_passed_over_and_noted(before):
    source = samples.tone("MP3")
    plugin = Audio(rate_hz=16_000, seconds=0.4)

    row, told = decoded(plugin, before + source)

    np.testing.assert_array_equal(row, decoded(plugin, source)[0])
    assert told.notes == (SHIFTED, "cut")


def test_an_mp3_with_zeros_behind_its_tag_is_read_as_by_its_name(data):
    path = Path(data).parent / "cases/mp3_zeros_before_the_sync/snd/zeros-after-id3.mp3"
    sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)

    row, told = decoded(Audio(rate_hz=rate_hz, seconds=2.0), path.read_bytes())

    assert told.notes == (SHIFTED, "padded")
    np.testing.assert_allclose(row[: told.length], sound.mean(axis=1)[: told.length], atol=1e-6)


def test_a_tag_before_a_wav_file_costs_none_of_its_sound():
    source = samples.tone(seconds=0.5, rate_hz=16_000)
    plugin = Audio(rate_hz=16_000, seconds=0.5)

    row, told = decoded(plugin, b"ID3\4\0\0\0\0\7\x76" + bytes(1_014) + source)

    np.testing.assert_array_equal(row, decoded(plugin, source)[0])
    assert told == (8_000, (SHIFTED,))


def test_whole_numbers_stored_as_floats_are_noted_and_can_be_scaled():
    numbers = noise(800).astype(np.float32)
    source = wav(numbers, subtype="FLOAT")

    loud, told = decoded(Audio(rate_hz=8_000, seconds=0.1), source)
    row, scaled = decoded(Audio(rate_hz=8_000, seconds=0.1, full_scale=32_768), source)

    assert (told.notes, scaled.notes) == (("loud",), ())
    np.testing.assert_array_equal(loud, numbers)
    np.testing.assert_array_equal(row, numbers / 32_768)


def test_whole_numbers_stored_as_floats_are_refused_where_all_would_be_clipped():
    source = wav(noise(800).astype(np.float32), subtype="FLOAT")
    in_sixteen_bit = {"rate_hz": 8_000, "seconds": 0.1, "dtype": "int16"}

    with pytest.raises(InvalidSample, match=r"loud: 32,\d\d\d times full scale; set full_scale"):
        decoded(Audio(**in_sixteen_bit), source)

    row, _ = decoded(Audio(**in_sixteen_bit, full_scale=32_768), source)
    np.testing.assert_array_equal(row, noise(800))


def test_full_scale_is_of_floats_alone():
    row, _ = decoded(Audio(rate_hz=8_000, seconds=0.1, full_scale=32_768), wav(noise(800)))

    np.testing.assert_array_equal(row, noise(800) / np.float32(32_768))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"\0\0\0\x20ftypM4A " + bytes(20), "unsupported format: an M4A sound; convert it to WAV"),
        (b"\xff\xf1\x50\x80" + bytes(60), "unsupported format: an AAC sound; convert it to WAV"),
        (b"MThd\0\0\0\6" + bytes(20), "not audio: a MIDI file, notes without sound; render it"),
        (b"\0\0\0\x20ftypisom" + bytes(20), "not audio: an MP4 video; take its sound out first"),
        (b"ID3\3\0\0\0\0\1H" + bytes(100), "not audio: begins like an MP3 file and has no sound"),
        (samples.image("JPEG"), "not audio: a JPEG picture; is this the right column"),
        (samples.tone()[:30], "corrupt audio: a WAV sound, "),
        (
            samples.tone()[:36] + b"LIST\4\0\0\0INFO",
            "corrupt audio: a WAV sound, there is no sound",
        ),
        (samples.tone("FLAC")[:60], "corrupt audio: a FLAC sound, "),
        (samples.tone("MP3")[:100], "corrupt audio: an MP3 sound, it ends before its first frame"),
    ],
)
def test_what_is_no_sound_is_named(source, said):
    with pytest.raises(InvalidSample) as verdict:
        decoded(Audio(rate_hz=8_000, seconds=0.1), source)

    assert str(verdict.value).startswith(said)
    assert str(verdict.value).isprintable()


def test_a_sound_that_is_cut_says_how_long_the_whole_is():
    source = samples.tone(frequency_hz=440, seconds=2.0, rate_hz=8_000)

    told = Audio(rate_hz=16_000, seconds=0.5).decode(source, np.zeros(8_000, np.float32))

    assert isinstance(told, Shortened)
    assert (told.length, told.whole) == (8_000, 32_000)


def test_a_row_of_more_samples_than_any_machine_holds_is_refused():
    with pytest.raises(ValueError, match=r"are 3,600,000,000 samples; at most 536,870,912"):
        Audio(rate_hz=1_000_000, seconds=3_600)
