import struct

import pytest

from sampan.modalities.codecs.riff import COUNTED, UNKNOWN, closed, data_chunk
from sampan.testing import samples


def with_sizes(wav, size, whole=None):
    at = wav.index(b"data") + 4
    whole = struct.unpack_from("<I", wav, 4)[0] if whole is None else whole
    return wav[:4] + struct.pack("<I", whole) + wav[8:at] + struct.pack("<I", size) + wav[at + 4 :]


def sound():
    """1,600 bytes behind a header of 44."""
    return samples.tone(seconds=0.1, rate_hz=8_000)


def test_a_whole_file_has_what_it_claims():
    assert data_chunk(sound()) == (1_600, 1_600, 44, None)


def test_a_cut_file_has_less_than_it_claims():
    assert data_chunk(sound()[:-100]) == (1_600, 1_500, 44, None)


@pytest.mark.parametrize(
    "size",
    [
        0,
        0xFFFFFFFF,  # FFmpeg
        0xFFFFFFFF - 36,
        0xFFFFFFFE,
        0x7FFFF000,  # SoX, eSpeak
        0x7FFFF000 - 0x7FFFF000 % 6,
        0x7FFFFFFF,  # LAME
        0x7FFFFFFF - 36,
        0x7FFFFFFF - 44,
        0x80000000,  # arecord
        0x80000024,
    ],
)
@pytest.mark.parametrize("whole", [0, 0x24, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_writer_that_could_not_go_back_does_not_know_the_length(size, whole):
    assert data_chunk(with_sizes(sound(), size, whole)).note == UNKNOWN


@pytest.mark.parametrize("whole", [0, 0xFFFFFFFF, 0x7FFFF024])
def test_a_size_is_no_claim_where_that_of_the_whole_file_is_none(whole):
    assert data_chunk(with_sizes(sound(), 1_700, whole)).note == UNKNOWN


@pytest.mark.parametrize("size", [1_644, 1_636])
def test_a_recorder_may_count_its_header_as_sound(size):
    assert data_chunk(with_sizes(sound(), size)).note == COUNTED


@pytest.mark.parametrize("size", [1_601, 1_602, 1_643, 1_645, 1_688, 3_200, 2**30])
def test_any_other_size_above_what_is_there_says_that_the_file_is_cut(size):
    assert data_chunk(with_sizes(sound(), size)) == (size, 1_600, 44, None)


def test_an_empty_sound_before_other_chunks_is_empty():
    wav = sound()[:36] + b"data\0\0\0\0" + b"LIST" + struct.pack("<I", 4) + b"INFO"

    assert data_chunk(wav) == (0, 0, 44, None)


def test_chunks_before_the_sound_are_passed_over_with_their_padding():
    wav = sound()
    at = wav.index(b"data")
    chunk = b"LIST" + struct.pack("<I", 3) + b"abc\0"

    assert data_chunk(wav[:at] + chunk + wav[at:]) == (1_600, 1_600, 56, None)


def test_a_file_of_64_bits_has_its_claim_in_a_chunk_of_its_own():
    rf64 = samples.tone("RF64", seconds=0.1, rate_hz=8_000)
    at = rf64.index(b"ds64") + 8
    unknown = rf64[:at] + b"\xff" * 16 + rf64[at + 16 :]

    assert data_chunk(rf64)[:2] == (1_600, 1_600)
    assert data_chunk(rf64[:-100])[:2] == (1_600, 1_500)
    assert data_chunk(rf64[:-100]).note is None
    assert data_chunk(unknown).note == UNKNOWN


def test_an_open_file_is_closed_as_it_would_have_been():
    whole = sound()
    left_open = with_sizes(whole, 0, 0)

    assert closed(left_open, data_chunk(left_open)) == whole


@pytest.mark.parametrize("file", [b"", b"RIFF", samples.tone("FLAC"), samples.tone()[:40]])
def test_other_files_claim_nothing(file):
    assert data_chunk(file) is None


def big_endian(wav):
    """RIFX: the same file with its numbers the other way round."""
    at = wav.index(b"data") + 4
    order = ((4, "I"), (16, "I"), (20, "HHIIHH"), (at, "I"))
    swapped = bytearray(b"RIFX" + wav[4:])
    for start, kinds in order:
        struct.pack_into(">" + kinds, swapped, start, *struct.unpack_from("<" + kinds, wav, start))
    return bytes(swapped)


def test_big_endian_files_are_held_to_what_they_claim():
    whole = big_endian(sound())
    stream = big_endian(with_sizes(sound(), 0))

    assert data_chunk(whole) == (1_600, 1_600, 44, None)
    assert data_chunk(whole[:-100]) == (1_600, 1_500, 44, None)
    assert closed(stream, data_chunk(stream)) == whole
