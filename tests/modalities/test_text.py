import time
import unicodedata

import numpy as np
import pytest

from sampan.errors import InvalidSample
from sampan.modalities.text import Text
from sampan.plugins import Shortened
from sampan.testing import samples
from sampan.testing.modalities import ModalityConformance, decoded

NOT_USABLE = {
    "empty.txt": "empty text: 0 bytes",
    "invalid_utf8.txt": "not UTF-8: byte 0xe9 at 5; convert the source",
    "nul_bytes.txt": "NUL in text: byte 0x00 at 13; clean or convert the source",
    "utf16_bom.txt": "not UTF-8: begins with the byte order mark of UTF-16; convert the source",
}


class TestText(ModalityConformance):
    @pytest.fixture
    def plugin(self):
        return Text(bytes=24)

    @pytest.fixture
    def good(self):
        return samples.captions()

    @pytest.fixture
    def bad(self):
        return [b"", b" \n", b"\xff", "caption".encode("utf-16"), b"a\0b"]


def stored(text, num_bytes):
    row, told = decoded(Text(bytes=num_bytes), text.encode())
    return row[: told.length].tobytes().decode(), told.notes


def test_text_that_fits_is_stored_as_it_is():
    assert stored(" naïve 写真\r\n", 64) == (" naïve 写真\r\n", ())


def test_what_lies_behind_the_text_is_zero():
    row, _ = decoded(Text(bytes=8), b"abc")

    assert row.tolist() == [97, 98, 99, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("text", ["e\u0301", "\u212b", "가", "q\u0307\u0323", "\U0001d160"])
def test_text_is_stored_in_normalisation_form_c(text):
    assert stored(text, 64) == (unicodedata.normalize("NFC", text), ())


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_text_is_the_beginning_of_the_whole_in_normalisation_form_c(seed):
    random = np.random.default_rng(seed)
    letters = "aǖ가u\u0308\u0304\u0323\u0301é😀\u1100\u1161\u11a8 \u0390"
    text = "a" + "".join(random.choice(list(letters), size=400))

    kept, notes = stored(text, 64)

    assert unicodedata.normalize("NFC", text).startswith(kept)
    assert 64 - 4 * 12 < len(kept.encode()) <= 64
    assert notes == ("cut",)


@pytest.mark.parametrize(
    ("text", "num_bytes", "kept"),
    [
        ("abcdef", 4, "abcd"),
        ("abcé", 4, "abc"),
        ("写真写真", 8, "写真"),
        ("ab😀", 5, "ab"),
        ("abq\u0323\u0307", 5, "ab"),
        ("q\u0323\u0307\u0323", 5, "q\u0323\u0323"),
    ],
)
def test_a_cut_falls_between_characters(text, num_bytes, kept):
    assert stored(text, num_bytes) == (kept, ("cut",))


def test_a_text_of_just_the_bytes_of_the_row_is_not_cut():
    assert stored("写真", 6) == ("写真", ())


def test_a_byte_order_mark_is_dropped(data):
    row, told = decoded(Text(bytes=32), (data / "odd/text/utf8_bom_crlf.txt").read_bytes())

    assert row[: told.length].tobytes() == b"one\r\ntwo\r\nthree\r\n"


def test_a_position_counts_from_the_beginning_of_the_file():
    with pytest.raises(InvalidSample, match="byte 0xff at 5"):
        decoded(Text(), b"\xef\xbb\xbfab\xff")


def test_more_bytes_than_allowed_are_refused():
    with pytest.raises(InvalidSample, match="too many bytes: 11, max_bytes is 10"):
        decoded(Text(max_bytes=10), b"hello world")


def test_a_run_of_combining_marks_does_not_hold_up_everybody():
    hostile = ("a" + "\u0315\u0300" * 500_000).encode()
    start = time.process_time()

    with pytest.raises(InvalidSample, match="too many combining marks"):
        decoded(Text(bytes=65_536), hostile)

    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"PK\3\4" + bytes(40), "not text: a ZIP archive; unpack it first"),
        (b"\x1f\x8b\x08\0" + bytes(40), "not text: gzip-compressed; unpack it first"),
        (b"%PDF-1.4\n1 0 obj", "not text: a PDF document; take its pages out as PNG, or its words"),
        (b"{\\rtf1 a}", "not text: an RTF document; save it as plain text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not text: a Git LFS pointer, not the"),
        (samples.image("PNG"), "not text: a PNG picture; is this the right column?"),
        ("MAC à".encode("latin-1"), "not UTF-8: byte 0xe0 at 4; convert the source"),
    ],
)
def test_what_is_no_text_is_named(source, said):
    with pytest.raises(InvalidSample) as verdict:
        decoded(Text(), source)

    assert str(verdict.value).startswith(said)
    assert str(verdict.value).isprintable()


def test_a_page_is_stored_and_noted():
    page = "<!DOCTYPE html><html>404</html>"

    assert stored(page, 64) == (page, ("HTML page",))


def test_every_odd_text_is_stored_or_refused_with_its_reason(data):
    for path in sorted((data / "odd/text").iterdir()):
        try:
            row, told = decoded(Text(), path.read_bytes())
        except InvalidSample as verdict:
            assert str(verdict) == NOT_USABLE[path.name]
        else:
            assert path.name not in NOT_USABLE
            kept = row[: told.length].tobytes().decode()
            whole = unicodedata.normalize("NFC", path.read_bytes().decode("utf-8-sig"))
            assert whole.startswith(kept)
            assert told.notes == (() if kept == whole else ("cut",))


def test_a_text_that_is_cut_says_how_many_bytes_the_whole_has():
    out = np.zeros(10, np.uint8)

    told = Text(bytes=10).decode(b"a" * 50, out)

    assert isinstance(told, Shortened)
    assert (told.length, told.whole) == (10, 50)
