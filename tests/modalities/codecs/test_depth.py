import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from modalities.tiff import LONG, SHORT, tiff

from sampan.errors import InvalidSample
from sampan.modalities.image import Image
from sampan.testing.modalities import decoded

TWELVE = np.array([[0, 1_000, 2_000, 4_095]], np.uint16)
AS_EIGHT = [0, 62, 125, 255]
"""TWELVE × 255 / 4,095, rounded."""
FLOAT, SIGNED = 3, 2
DARK = "dark: fits into 12 of 16 bits (white: 4095)"


def grey(source, **settings):
    row, told = decoded(Image(height=1, width=4, channels=1, **settings), source)
    return row.ravel().tolist(), told.notes


def png(pixels):
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
def test_twelve_bits_in_sixteen_are_dark_and_noted(order):
    assert grey(tiff(TWELVE, order=order)) == ([0, 4, 8, 16], (DARK,))
    assert grey(png(TWELVE)) == ([0, 4, 8, 16], (DARK,))


@pytest.mark.parametrize(("bits", "top"), [(8, 255), (10, 256), (10, 1_023), (14, 16_383)])
def test_a_note_names_the_bits_that_would_do(bits, top):
    _, (note,) = grey(tiff(np.full((1, 4), top, np.uint16)))

    assert note.startswith(f"dark: fits into {bits} of 16 bits")


@pytest.mark.parametrize("top", [0, 16_384, 65_535])
def test_black_and_what_uses_its_bits_are_not_noted(top):
    assert grey(tiff(np.full((1, 4), top, np.uint16)))[1] == ()


@pytest.mark.parametrize("make", [tiff, png])
def test_white_is_what_the_settings_say(make):
    assert grey(make(TWELVE), white=4_095) == (AS_EIGHT, ())


def test_what_lies_beyond_white_is_cut_and_noted():
    assert grey(tiff(TWELVE), white=2_000, black=1_000) == (
        [0, 0, 255, 255],
        ("beyond black or white",),
    )


@pytest.mark.parametrize("tag", [281, 341])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_says_which_bits_it_uses(tag, order):
    assert grey(tiff(TWELVE, order=order, tags={tag: (SHORT, [4_095])})) == (AS_EIGHT, ())


@pytest.mark.parametrize("said", [4_000, 255, 1_023])
def test_the_highest_value_of_one_picture_is_not_its_white(said):
    """By TIFF 6.0 the tag is for statistics: pictures of one series would differ in brightness."""
    assert grey(tiff(TWELVE, tags={281: (SHORT, [said])})) == ([0, 4, 8, 16], (DARK,))


def test_packed_bits_are_all_used():
    packed = np.frombuffer(bytes.fromhex("0003e87d0fff"), np.uint8)[None]

    source = tiff(packed, bits=12, tags={256: (SHORT, [4])})

    assert grey(source) == (AS_EIGHT, ())


def test_where_zero_is_white_the_picture_is_no_negative():
    deep = tiff(TWELVE, photometric=0, tags={281: (SHORT, [4_095])})
    shallow = tiff(np.array([AS_EIGHT], np.uint8), photometric=0)

    assert grey(deep)[0] == grey(shallow)[0] == [255 - level for level in AS_EIGHT]


@pytest.mark.parametrize("order", ["<", ">"])
def test_floats_from_zero_to_one_are_black_to_white(order):
    source = tiff((TWELVE / 4_095).astype(np.float32), order=order, sample_format=FLOAT)

    assert grey(source) == (AS_EIGHT, ())


@pytest.mark.parametrize(
    ("pixels", "sample_format", "said"),
    [
        (TWELVE.astype(np.float32), FLOAT, "floats from 0 to 4095; set white"),
        (-TWELVE.astype(np.float32) / 4_095, FLOAT, "floats from -1 to 0; set white"),
        (TWELVE.astype(np.int16) - 1_000, SIGNED, "whole numbers from -1000 to 3095; set white"),
        (TWELVE.astype(np.uint32) << 20, 1, "whole numbers from 0 to 4293918720; set white"),
    ],
)
def test_pixels_of_unknown_white_are_refused_with_their_range(pixels, sample_format, said):
    with pytest.raises(InvalidSample, match=f"unsupported pixels: {said}"):
        grey(tiff(pixels, sample_format=sample_format))


@pytest.mark.parametrize(
    ("pixels", "sample_format", "settings"),
    [
        (TWELVE.astype(np.float32), FLOAT, {"white": 4_095}),
        (TWELVE.astype(np.int16) - 1_000, SIGNED, {"white": 3_095, "black": -1_000}),
        (TWELVE.astype(np.int32) - 1_000, SIGNED, {"white": 3_095, "black": -1_000}),
        (TWELVE.astype(np.uint32) << 20, 1, {"white": 4_095 << 20}),
    ],
)
def test_the_settings_say_what_is_white_in_any_kind_of_number(pixels, sample_format, settings):
    assert grey(tiff(pixels, sample_format=sample_format), **settings) == (AS_EIGHT, ())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_refused(value):
    with pytest.raises(InvalidSample, match="not finite"):
        grey(tiff(np.full((1, 4), value, np.float32), sample_format=FLOAT), white=1)


@pytest.mark.parametrize("pixels", [TWELVE.astype(np.float64), TWELVE.astype(np.float16)])
def test_a_depth_that_cannot_be_read_is_named(pixels):
    with pytest.raises(InvalidSample, match="unsupported pixels: a TIFF file of rare depth"):
        grey(tiff(pixels, sample_format=FLOAT))


@pytest.mark.parametrize("order", ["<", ">"])
def test_dark_colour_is_noted(order):
    colours = np.repeat(TWELVE[..., None], 3, axis=2)

    dark = grey(tiff(colours, order=order, photometric=2))
    bright = grey(tiff(colours * 16, order=order, photometric=2))

    assert dark[1] == ("dark: colour fits into 12 of 16 bits",)
    assert bright[1] == ()


@pytest.mark.parametrize(("scale", "notes"), [(257, ()), (1, ("palette: fits into 8 of 16 bits",))])
def test_a_palette_may_have_been_written_in_eight_bits(scale, notes):
    red, green, blue = [200, 10] + [0] * 254, [0, 60] + [0] * 254, [50, 0] + [0] * 254
    colours = [scale * level for level in (*red, *green, *blue)]
    source = tiff(np.array([[0, 1]], np.uint8), photometric=3, tags={320: (SHORT, colours)})

    row, told = decoded(Image(height=1, width=2), source)

    assert row.tolist() == [[[200, 0, 50], [10, 60, 0]]]
    assert told.notes == notes


def test_white_must_be_more_than_black():
    with pytest.raises(ValueError, match="white 100 must be more than black 100"):
        Image(white=100, black=100)


def test_a_microscope_s_picture_is_noted_and_can_be_seen(data):
    source = (Path(data).parent / "cases/tiff_12_in_16/img/microscope.tif").read_bytes()

    dark, bright = (decoded(Image(**settings), source) for settings in ({}, {"white": 4_095}))

    assert dark[1].notes == (DARK,)
    assert bright[1].notes == ()
    assert dark[0].mean() < 10 < 100 < bright[0].mean()


@pytest.mark.parametrize("make", [tiff, png])
def test_a_few_saturated_pixels_do_not_hide_that_a_picture_is_dark(make):
    pixels = np.full((40, 40), 4_095, np.uint16)
    pixels[0, :10] = 65_535

    _, told = decoded(Image(height=40, width=40), make(pixels))

    assert told.notes == ("dark: nearly fits into 12 of 16 bits (white: 4095)",)


def test_a_drawing_on_black_is_not_called_dark():
    pixels = np.zeros((40, 40), np.uint16)
    pixels[0, :10] = 65_535

    assert decoded(Image(height=40, width=40), tiff(pixels))[1].notes == ()


def test_dark_floats_are_noted():
    pixels = np.array([[0.0, 0.001, 0.002, 0.004]], np.float32)

    assert grey(tiff(pixels, sample_format=FLOAT)) == (
        [0, 0, 1, 1],
        ("dark: floats up to a quarter of 1.0 (set white)",),
    )


def test_eight_bits_may_be_signed():
    pixels = np.array([[-128, -1, 0, 127]], np.int8)
    source = tiff(pixels, sample_format=SIGNED)

    with pytest.raises(InvalidSample, match="from -128 to 127; set white"):
        grey(source)
    assert grey(source, black=-128, white=127) == ([0, 127, 128, 255], ())


@pytest.mark.parametrize("order", ["<", ">"])
def test_deep_colours_that_lie_apart_are_refused_where_they_would_be_misread(order):
    colours = np.arange(12, dtype=np.uint16).reshape(1, 4, 3) * 5_000
    count = {273: (LONG, [0] * 3), 279: (LONG, [8] * 3), 284: (SHORT, [2])}

    with pytest.raises(InvalidSample, match="unsupported pixels: a TIFF file of deep colour"):
        grey(tiff(colours, order=order, photometric=2, tags=count))
