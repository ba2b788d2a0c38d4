import numpy as np
import pytest
from encoders.stored import pictures, texts

from sampan.encoders.hog import Hog
from sampan.errors import ConfigError


def test_a_vertical_edge_has_its_gradients_in_the_first_orientation():
    modality = pictures(32, 32, channels=1)
    image = np.zeros((1, 32, 32, 1), np.uint8)
    image[:, :, 16:] = 200

    found = Hog().load(modality, "cpu")(image, None).reshape(-1, 9)

    lit = found[found.any(axis=1)]
    assert len(lit) > 0
    assert (lit.argmax(axis=1) == 0).all()  # the gradient points to the right: 0° to 20°
    assert (lit[:, 1:] == 0).all()


def test_embeddings_have_the_length_of_overlapping_blocks():
    encode = Hog().load(pictures(32, 48), "cpu")
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)

    found = encode(image, None)

    assert encode.dimensions == 3 * 5 * 4 * 9
    assert found.shape == (2, encode.dimensions)
    assert found.dtype == np.float32


def test_equal_channels_give_what_grey_gives():
    grey = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1), np.uint8)

    of_grey = Hog().load(pictures(32, 32, channels=1), "cpu")(grey, None)
    of_colour = Hog().load(pictures(32, 32), "cpu")(np.repeat(grey, 3, axis=3), None)

    np.testing.assert_allclose(of_colour, of_grey, atol=1e-6)


def test_a_picture_smaller_than_one_block_is_refused_with_the_side_it_needs():
    with pytest.raises(
        ConfigError, match=r"stored at 8×32 px.*16×16 px.*set height and width to 16"
    ):
        Hog().load(pictures(8, 32), "cpu")


def test_texts_are_refused():
    assert Hog().check(texts()) == ["hog takes pictures (y, x, channel), this modality has (byte)"]
