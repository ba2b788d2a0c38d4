import numpy as np
import PIL.Image
import pytest

from sampan.modalities.codecs.placement import place
from sampan.modalities.codecs.resampling import SHIFT, resize


def smooth(height, width, seed=0):
    """Blurred noise: what a photograph has of detail, and no more than resizing keeps."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4 + 2, width // 4 + 2, 3))
    small = PIL.Image.fromarray(noise.astype(np.uint8))
    return np.array(small.resize((width, height), PIL.Image.Resampling.BICUBIC))


def resized(pixels, to):
    out = np.zeros((to.height, to.width, pixels.shape[2]), np.uint8)
    resize(pixels, to, out)
    return out


def by_pillow(pixels, to):
    """The whole picture is resized, then cropped."""
    size = (to.full_width, to.full_height)
    whole = np.asarray(PIL.Image.fromarray(pixels).resize(size, PIL.Image.Resampling.BICUBIC))
    return whole[to.top : to.top + to.height, to.left : to.left + to.width]


def psnr(found, wanted):
    error = np.square(found.astype(float) - wanted).mean()
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize(
    ("height", "width"),
    [
        (375, 500),
        (500, 375),
        (640, 427),
        (1080, 1920),
        (225, 1000),
        (240, 241),
        (90, 130),
        (57, 33),
    ],
)
def test_the_window_is_that_of_the_whole_picture_resized(height, width, fit):
    pixels = smooth(height, width)
    to = place(height, width, to_height=224, to_width=224, fit=fit)

    assert psnr(resized(pixels, to), by_pillow(pixels, to)) > 50


@pytest.mark.parametrize("seed", range(40))
def test_any_size_becomes_any_size(seed):
    random = np.random.default_rng(seed)
    height, width, to_height, to_width = random.integers(20, 400, 4).tolist()
    pixels = smooth(height, width, seed)
    to = place(height, width, to_height=to_height, to_width=to_width, fit="crop")

    assert psnr(resized(pixels, to), by_pillow(pixels, to)) > 50


def test_a_picture_moves_by_no_more_than_a_part_of_a_pixel():
    ramp = np.broadcast_to(np.linspace(0, 255, 500), (375, 500))[..., None]
    pixels = np.repeat(np.rint(ramp), 3, axis=2).astype(np.uint8)
    to = place(375, 500, to_height=224, to_width=224, fit="crop")

    found, wanted = (make(pixels, to).astype(float) for make in (resized, by_pillow))

    levels_per_pixel = 255 / 500
    assert abs((found - wanted).mean()) < SHIFT * levels_per_pixel + 0.1


def test_a_picture_of_the_right_size_is_only_cropped():
    pixels = np.random.default_rng(0).integers(0, 256, (224, 300, 3)).astype(np.uint8)
    to = place(224, 300, to_height=224, to_width=224, fit="crop")

    np.testing.assert_array_equal(resized(pixels, to), pixels[:, 38:262])
