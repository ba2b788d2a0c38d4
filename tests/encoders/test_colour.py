import numpy as np
from encoders.stored import pictures

from sampan.encoders import colour
from sampan.encoders.colour import Colour


def test_shares_are_those_of_numpys_histogram():
    images = np.random.default_rng(0).integers(0, 256, (4, 20, 30, 3), np.uint8)
    edges = [np.array([np.ceil(part * 256 / 6) for part in range(7)])] * 3

    found = Colour(root=False).load(pictures(20, 30), "cpu")(images, None)

    for row, image in zip(found, images, strict=True):
        counts, _ = np.histogramdd(image.reshape(-1, 3), bins=edges)
        np.testing.assert_allclose(row, counts.ravel() / 600, rtol=1e-6)


def test_roots_of_shares_have_length_1():
    images = np.random.default_rng(0).integers(0, 256, (4, 20, 30, 3), np.uint8)
    shares = Colour(root=False).load(pictures(20, 30), "cpu")(images, None)

    roots = Colour().load(pictures(20, 30), "cpu")(images, None)

    np.testing.assert_allclose(roots**2, shares, atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(roots, axis=1), 1, rtol=1e-6)


def test_a_grey_picture_gives_one_value_for_each_bin():
    black_and_white = np.array([[[[0], [0], [0], [255]]]], np.uint8)

    encode = Colour(bins=4, root=False).load(pictures(1, 4, channels=1), "cpu")

    assert encode.dimensions == 4
    assert encode(black_and_white, None).tolist() == [[0.75, 0, 0, 0.25]]


def test_blocks_of_a_few_pictures_give_what_the_whole_batch_gives(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), np.uint8)
    encode = Colour().load(pictures(8, 8), "cpu")
    whole = encode(images, None)

    monkeypatch.setattr(colour, "PIXELS_AT_ONCE", 128)

    assert np.array_equal(encode(images, None), whole)
