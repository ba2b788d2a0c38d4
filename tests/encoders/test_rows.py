import numpy as np

from sampan.encoders.rows import texts, used, waves


def test_texts_are_decoded_to_their_length():
    data = np.frombuffer("naïve\0\0日本\0\0".encode(), np.uint8).reshape(2, 8)

    assert texts(data, np.array([6, 6], np.int32)) == ["naïve", "日本"]
    assert texts(data, None) == ["naïve", "日本"]


def test_the_most_negative_integer_is_minus_one():
    assert waves(np.array([[-32768, 16384]], np.int16)).tolist() == [[-1.0, 0.5]]


def test_floats_stay_what_they_are():
    data = np.array([[-1, 0.25]], np.float32)

    assert waves(data) is data


def test_an_empty_sound_has_one_sample():
    data = np.zeros((2, 4), np.float32)

    assert used(data, np.array([0, 3], np.int32)).tolist() == [1, 3]
    assert used(data, None).tolist() == [4, 4]
