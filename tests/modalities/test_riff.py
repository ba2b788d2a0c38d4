import struct

import pytest

from sampan.modalities.riff import data_chunk
from sampan.testing import samples


def with_data_size(wav, size):
    at = wav.index(b"data") + 4
    return wav[:at] + struct.pack("<I", size) + wav[at + 4 :]


def test_a_whole_file_has_what_it_claims():
    assert data_chunk(samples.tone(seconds=0.1, rate_hz=8_000)) == (1_600, 1_600)


def test_a_cut_file_has_less_than_it_claims():
    assert data_chunk(samples.tone(seconds=0.1, rate_hz=8_000)[:-100]) == (1_600, 1_500)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_a_stream_claims_nothing(size):
    assert data_chunk(with_data_size(samples.tone(), size)) is None


def test_chunks_before_the_sound_are_passed_over_with_their_padding():
    wav = samples.tone(seconds=0.1, rate_hz=8_000)
    at = wav.index(b"data")
    chunk = b"LIST" + struct.pack("<I", 3) + b"abc\0"

    assert data_chunk(wav[:at] + chunk + wav[at:]) == (1_600, 1_600)


@pytest.mark.parametrize("file", [b"", b"RIFF", samples.tone("FLAC"), samples.tone()[:40]])
def test_other_files_claim_nothing(file):
    assert data_chunk(file) is None
