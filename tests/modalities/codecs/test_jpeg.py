import io
import random

import numpy as np
import PIL.Image
import pytest
import simplejpeg
from PIL import ImageOps

from sampan.errors import InvalidSample
from sampan.modalities.codecs.jpeg import JUNK
from sampan.modalities.codecs.placement import place
from sampan.modalities.image import Image
from sampan.testing.modalities import decoded


@pytest.fixture(scope="module")
def photos(data):
    return sorted((data / "clothing").rglob("*.jpg"))


def file_of(picture, **options):
    file = io.BytesIO()
    picture.save(file, "JPEG", **{"quality": 92, **options})
    return file.getvalue()


def psnr(found, wanted):
    error = np.square(found.astype(float) - wanted).mean()
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


def by_pillow(source, plugin):
    """Every pixel decoded, stood upright, the whole resized and then cropped."""
    with PIL.Image.open(io.BytesIO(source)) as opened:
        whole = ImageOps.exif_transpose(opened).convert("L" if plugin.channels == 1 else "RGB")
    sides = {"to_height": plugin.height, "to_width": plugin.width, "fit": plugin.fit}
    to = place(whole.height, whole.width, **sides)
    resized = whole.resize((to.full_width, to.full_height), PIL.Image.Resampling.BICUBIC)
    kept = resized.crop((to.left, to.top, to.left + to.width, to.top + to.height))
    return np.array(kept).reshape(plugin.array().shape)


@pytest.mark.parametrize("side", [64, 32])
@pytest.mark.parametrize("more_rows", range(8))
def test_a_scaled_picture_of_any_size_agrees_with_a_full_decode(photos, side, more_rows):
    """440 + 0…7 rows at 4/8 and 2/8, in every orientation and subsampling; a shift has 28 dB."""
    ratios = []
    for more_columns in range(8):
        number = 8 * more_rows + more_columns
        with PIL.Image.open(photos[number]) as photo:
            size = (560 + more_columns, 440 + more_rows)
            picture = photo.convert("RGB").resize(size, PIL.Image.Resampling.BICUBIC)
        exif = PIL.Image.Exif()
        exif[0x0112] = (more_rows + more_columns) % 8 + 1
        source = file_of(picture, exif=exif, subsampling=number % 3)
        for fit in ("crop", "stretch"):
            plugin = Image(height=side, width=side, channels=(1, 3)[number % 2], fit=fit)

            row, _ = decoded(plugin, source)

            ratios.append(psnr(row, by_pillow(source, plugin)))
    assert np.median(ratios) > 50
    assert min(ratios) > 48


def test_a_photo_of_uneven_sides_does_not_drift(photos):
    with PIL.Image.open(photos[60]) as photo:
        source = file_of(photo.resize((774, 575), PIL.Image.Resampling.BICUBIC))
    plugin = Image(height=96, width=96)

    row, _ = decoded(plugin, source)

    assert psnr(row, by_pillow(source, plugin)) > 50


def flipped(source, number, seed):
    """The file with so many bits of it turned at random."""
    data, draw = bytearray(source), random.Random(seed)
    for _ in range(number):
        bit = draw.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def verdict(source, **settings):
    try:
        return decoded(Image(height=64, width=64, **settings), source)[1].notes
    except InvalidSample as fault:
        return str(fault)


@pytest.mark.parametrize("number", [8, 64])
def test_what_libjpeg_warns_about_is_refused(photos, number):
    sources = [flipped(photo.read_bytes(), number, seed) for seed, photo in enumerate(photos[:64])]

    kept = [source for source in sources if not isinstance(verdict(source), str)]

    for source in kept:
        simplejpeg.decode_jpeg(source)  # raises for any warning
    assert len(kept) < {8: 26, 64: 3}[number]


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 20}, {}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_damage_is_seen_in_every_kind_of_jpeg(photos, mode, options):
    with PIL.Image.open(photos[1]) as photo:
        source = file_of(photo.convert(mode), **options)
    damaged = [flipped(source, 32, seed) for seed in range(8)]

    verdicts = [verdict(file) for file in damaged]

    assert verdict(source) == ()
    assert sum(isinstance(found, str) for found in verdicts) >= 7


def test_damage_is_seen_behind_what_is_harmless(photos):
    """libjpeg tells its first warning only."""
    source = photos[0].read_bytes()
    middle, tables = len(source) // 2, source.index(b"\xff\xdb")
    damaged = source[:middle] + source[middle + 1_000 :]
    junk = damaged[:tables] + b"junk" + damaged[tables:]
    later_version = damaged[:11] + b"\x07" + damaged[12:]

    assert verdict(junk) == verdict(later_version) == verdict(damaged)
    assert verdict(damaged).startswith("corrupt JPEG: ")


def test_junk_between_segments_is_passed_over_and_noted(photos):
    source = photos[0].read_bytes()
    tables = source.index(b"\xff\xdb")

    for junk in (b"junk", bytes(300)):
        assert verdict(source[:tables] + junk + source[tables:]) == (JUNK,)


@pytest.mark.parametrize("padding", [bytes(8), b"\x7f" * 12, b"\xaa" * 40])
def test_padding_before_the_end_is_passed_over_and_noted(photos, padding):
    source = photos[0].read_bytes()
    assert source.endswith(b"\xff\xd9")

    assert verdict(source[:-2] + padding + source[-2:]) == (JUNK,)


def test_other_bytes_before_the_end_are_of_a_picture_that_is_not_whole(photos):
    source = photos[0].read_bytes()

    assert verdict(source[:-2] + b"left over" + source[-2:]).startswith("corrupt JPEG: ")


def test_an_unknown_version_harms_nothing(photos):
    source = photos[0].read_bytes()
    later_version = source[:11] + b"\x07" + source[12:]
    plugin = Image(height=64, width=64)

    row, told = decoded(plugin, later_version)

    assert source[6:10] == b"JFIF"
    np.testing.assert_array_equal(row, decoded(plugin, source)[0])
    assert told.notes == (JUNK,)


def test_a_profile_that_holds_markers_is_no_end_of_the_picture(photos):
    with PIL.Image.open(photos[1]) as photo:
        plain = file_of(photo)
        source = file_of(photo, icc_profile=b"\xff\xda\1\2\3\xff\xd9" * 100)
    padded = source[:-2] + bytes(40) + source[-2:]
    plugin = Image(height=64, width=64)

    row, told = decoded(plugin, padded)

    assert told.notes == (JUNK,)
    assert np.array_equal(row, decoded(plugin, plain)[0])


@pytest.mark.parametrize("side", [33, 79, 100])
def test_photos_scaled_just_enough_agree_with_a_full_decode(photos, side):
    plugin = Image(height=side, width=side)

    ratios = [
        psnr(decoded(plugin, source)[0], by_pillow(source, plugin))
        for source in (photo.read_bytes() for photo in photos[::6])
    ]

    assert min(ratios) > 45
