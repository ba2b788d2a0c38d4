"""MurmurHash3 here is Appleby's definition (x86, 32 bits), written out to check against."""

from collections import Counter
from math import log, sqrt
from random import Random

import numpy as np
import pytest
from encoders.stored import pictures, texts
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer

from sampan.encoders.ngrams import Ngrams


def murmur3(data: bytes) -> int:
    mask, state = 0xFFFFFFFF, 0
    tail = len(data) & ~3
    words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, tail, 4)]
    for number, word in enumerate([*words, int.from_bytes(data[tail:], "little")]):
        word = word * 0xCC9E2D51 & mask
        word = (word << 15 | word >> 17) * 0x1B873593 & mask
        state ^= word
        if number < len(words):
            state = ((state << 13 | state >> 19) & mask) * 5 + 0xE6546B64 & mask
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & mask
    state = (state ^ state >> 13) * 0xC2B2AE35 & mask
    state ^= state >> 16
    return state - (1 << 32) if state >> 31 else state


def encoded(encoder: Ngrams, *strings: str) -> np.ndarray:
    rows = [string.encode() for string in strings]
    data = np.zeros((len(rows), 1024), np.uint8)
    for row, text in zip(data, rows, strict=True):
        row[: len(text)] = np.frombuffer(text, np.uint8)
    length = np.array([len(text) for text in rows], np.int32)
    return encoder.load(texts(1024), "cpu")(data, length)


def test_murmur3_of_this_test_is_that_of_its_authors_vectors():
    assert murmur3(b"hello") & 0xFFFFFFFF == 0x248BFA47
    assert murmur3(b"The quick brown fox jumps over the lazy dog") & 0xFFFFFFFF == 0x2E4FF723


def test_each_ngram_of_a_framed_word_is_added_with_the_sign_and_at_the_place_of_its_hash():
    expected = np.zeros(512)
    counts = {" b": 1, "ba": 1, "an": 2, "na": 2, "a ": 1}
    for gram, count in counts.items():
        number = murmur3(gram.encode())
        expected[abs(number) % 512] += np.sign(number) * (1 + log(count))
    expected /= sqrt((expected**2).sum())

    found = encoded(Ngrams(shortest=2, longest=2), "banana")

    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dimensions": 2},
        {"shortest": 1, "longest": 9, "casefold": False},
        {"shortest": 5, "longest": 40},
    ],
)
def test_embeddings_are_those_that_scikit_learn_would_make_to_the_last_bit(settings):
    encoder = Ngrams(**settings)
    letters = [*"abcdeäß漢ıİﬁ 🏳\u00a0\t\n", "abc " * 3, "x" * 33]
    random = Random(0)
    strings = ["".join(random.choices(letters, k=random.randrange(16))) for _ in range(500)]

    count = CountVectorizer(
        analyzer="char_wb",
        ngram_range=(encoder.shortest, encoder.longest),
        preprocessor=str.casefold if encoder.casefold else str,
    ).build_analyzer()
    weights = [{gram: 1 + log(c) for gram, c in Counter(count(s)).items()} for s in strings]
    hashed = FeatureHasher(encoder.dimensions).transform(weights).toarray()
    lengths = np.linalg.norm(hashed, axis=1, keepdims=True)
    expected = (hashed / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    assert np.array_equal(encoded(encoder, *strings), expected)


def test_texts_without_length_end_at_the_last_byte_that_is_not_0():
    data = np.zeros((1, 16), np.uint8)
    data[0, :5] = np.frombuffer(b"hello", np.uint8)
    encode = Ngrams().load(texts(16), "cpu")

    assert np.array_equal(encode(data, None), encode(data, np.array([5], np.int32)))


def test_case_counts_only_where_asked():
    folded = encoded(Ngrams(), "STRASSE", "straße")
    exact = encoded(Ngrams(casefold=False), "STRASSE", "straße")

    assert np.array_equal(folded[0], folded[1])
    assert exact[0] @ exact[1] < 0.5


def test_rows_have_length_1_and_an_empty_text_gives_zeros():
    found = encoded(Ngrams(), "flag of Malta", "", "   ", "日本", "a")

    lengths = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(lengths, [1, 0, 0, 1, 1], rtol=1e-6)


def test_ranges_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match="longest: 2 is less than shortest: 3; set longest: 3"):
        Ngrams(shortest=3, longest=2)


def test_pictures_are_refused():
    assert Ngrams().check(pictures(8, 8)) == ["ngrams takes text, this modality is image"]
