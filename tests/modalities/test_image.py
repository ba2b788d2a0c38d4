import io
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest
from PIL import ImageOps

from sampan.errors import InvalidSample
from sampan.modalities.image import Image
from sampan.testing import samples
from sampan.testing.modalities import ModalityConformance, decoded

NOT_USABLE = {
    "broken.png": "corrupt PNG",
    "broken_data_stream.png": "corrupt PNG",
    "decompression_bomb.gif": "too many pixels",
    "decompression_bomb.ico": "unsupported format",
    "html_error_page.jpg": "not an image",
    "huge_25000x25000_1bit.png": "too many pixels",
    "one_byte.png": "not an image",
    "photo_half.jpg": "truncated JPEG",
    "photo_no_eoi.jpg": "truncated JPEG",
    "photo_zeroed_64.jpg": "corrupt JPEG",
    "png_decompression_dos.png": "corrupt PNG",
    "reallybig.bmp": "too many pixels",
    "shortfile.bmp": "truncated BMP",
    "truncated_end_chunk.png": "truncated PNG",
    "truncated_image.png": "truncated PNG",
    "truncated_jpeg.jpg": "truncated JPEG",
    "unknown_compression_method.png": "corrupt PNG",
    "zero-loop-count.gif": "corrupt GIF",
    "zero_bytes.jpg": "empty file",
    "zero_width.gif": "zero width",
}
ODD_RUN = r"""
import json, pathlib, re, sys, time
from sampan.errors import InvalidSample
from sampan.modalities.image import Image
from sampan.testing.modalities import decoded
seconds = {}
for path in pathlib.Path(sys.argv[1]).iterdir():
    start = time.process_time()
    try:
        decoded(Image(), path.read_bytes())
    except InvalidSample:
        pass
    seconds[path.name] = time.process_time() - start
# ru_maxrss would be the parent's where that is larger: it outlives exec
peak = re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())
print(json.dumps([int(peak[1]) / 1024, seconds]))
"""


class TestImage(ModalityConformance):
    @pytest.fixture
    def plugin(self):
        return Image(height=32, width=24)

    @pytest.fixture
    def good(self):
        formats = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
        modes = ("L", "RGBA", "P", "LA", "I;16")
        files = [samples.image(file_format) for file_format in formats]
        return [
            *files,
            *(samples.image("PNG", mode=mode) for mode in modes),
            samples.image("JPEG", mode="CMYK"),
            samples.image("JPEG", mode="L"),
            samples.image("TIFF", mode="LAB"),
        ]

    @pytest.fixture
    def bad(self):
        return [*samples.no_files(), samples.image("JPEG")[:-2], samples.image("PNG")[:-40]]


class TestGreyImage(TestImage):
    @pytest.fixture
    def plugin(self):
        return Image(height=32, width=24, channels=1, fit="stretch")


def psnr(found, wanted):
    """Peak signal-to-noise ratio in dB."""
    error = np.square(found.astype(float) - wanted).mean()
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


def by_pillow(path, side=224, mode="RGB"):
    """Full decode, upright, over white, shortest side resized to `side`, centre crop."""
    with PIL.Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.has_transparency_data:
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert("RGB").convert(mode)
    short = min(image.size)
    width, height = (side * length // short for length in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    resized = image.resize((width, height), PIL.Image.Resampling.BICUBIC)
    return np.array(resized.crop((left, top, left + side, top + side)))


def file_of(pixels, file_format="PNG", **options):
    file = io.BytesIO()
    image = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    image.save(file, file_format, **options)
    return file.getvalue()


def row_of(source, **settings):
    return decoded(Image(**settings), source)[0]


def test_a_picture_of_the_stored_size_is_stored_exactly():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)

    np.testing.assert_array_equal(row_of(file_of(pixels), height=20, width=30), pixels)


def test_the_centre_is_kept():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)

    np.testing.assert_array_equal(row_of(file_of(pixels), height=20, width=20), pixels[:, 5:25])


def test_stretching_keeps_the_whole_picture():
    source = samples.image("PNG", height=90, width=30)

    row = row_of(source, height=16, width=16, fit="stretch")

    with PIL.Image.open(io.BytesIO(source)) as image:
        wanted = np.array(image.resize((16, 16), PIL.Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(row, wanted)


def test_jpeg_agrees_with_a_full_decode_by_pillow(data):
    photos = sorted((data / "clothing").rglob("*.jpg"))[::5]

    ratios = [psnr(row_of(path.read_bytes()), by_pillow(path)) for path in photos]

    assert len(ratios) == 30
    assert min(ratios) > 50


def test_grey_jpeg_agrees_with_a_full_decode_by_pillow(data):
    path = min((data / "clothing").rglob("*.jpg"))

    row = row_of(path.read_bytes(), channels=1)

    assert psnr(row[..., 0], by_pillow(path, mode="L")) > 45


def test_a_large_sideways_jpeg_is_scaled_and_stands_upright(data):
    path = data / "odd/image/Landscape_6.jpg"

    assert psnr(row_of(path.read_bytes()), by_pillow(path)) > 40


@pytest.mark.parametrize(
    ("name", "decibels"),
    [
        ("1_trns.png", 50),
        ("basn2c16.png", 50),
        ("basn6a16.png", 50),
        ("cat.jpg", 40),
        ("dispose_bgnd.gif", 50),
        ("dispose_op_none.png", 50),
        ("exif-dpi-zerodivision.jpg", 40),
        ("frame_size.mpo", 40),
        ("hopper.avif", 50),
        ("hopper.webp", 50),
        ("hopper_gray.jpg", 40),
        ("hopper_lzw.tif", 50),
        ("hopper_orientation_6.jpg", 40),
        ("hopper_orientation_8.jpg", 40),
        ("invalid-exif.jpg", 40),
        ("iss634.gif", 50),
        ("jpeg_named.png", 50),
        ("junk_jpeg_header.jpg", 50),
        ("multipage.tiff", 50),
        ("one_by_one.png", 50),
        ("p_trns_single.png", 50),
        ("photo_trailing_garbage.jpg", 50),
        ("pil_sample_cmyk.jpg", 50),
        ("png_named.jpg", 50),
        ("transparent.webp", 50),
        ("truncated_app14.jpg", 50),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_an_odd_picture_comes_out_as_pillow_shows_it(data, name, decibels):
    path = data / "odd/image" / name

    assert psnr(row_of(path.read_bytes()), by_pillow(path)) > decibels


@pytest.mark.parametrize("name", ["hopper_orientation_6.jpg", "hopper_orientation_8.jpg"])
def test_a_turned_photo_looks_like_the_upright_one(data, name):
    upright = row_of((data / "odd/image/hopper_lzw.tif").read_bytes(), height=64, width=64)

    turned = row_of((data / "odd/image" / name).read_bytes(), height=64, width=64)

    assert psnr(turned, upright) > 25
    assert psnr(np.rot90(turned), upright) < 15


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_stands_upright(file_format, orientation):
    upright = PIL.Image.open(io.BytesIO(samples.image("PNG", height=40, width=64)))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)
    turned = upright if undo is None else upright.transpose(PIL.Image.Transpose(undo))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation

    row = row_of(file_of(turned, file_format, exif=exif, quality=95), height=40, width=64)

    assert psnr(row, np.array(upright)) > 30


def test_a_lab_picture_has_the_colours_of_its_rgb_twin(data):
    lab, rgb = (
        row_of((data / "odd/image" / name).read_bytes(), height=128, width=128)
        for name in ("hopper.Lab.tif", "hopper_lzw.tif")
    )

    assert psnr(lab, rgb) > 30


def test_sixteen_bit_grey_is_scaled_and_not_clipped(data):
    source = (data / "odd/image/16bit.cropped.tif").read_bytes()
    with PIL.Image.open(io.BytesIO(source)) as image:
        wide = np.array(image)

    row = row_of(source, height=64, width=64, channels=1)

    assert wide.max() > 255
    np.testing.assert_array_equal(row[..., 0], np.rint(wide / 257))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_the_brightest_of_sixteen_bits_is_the_brightest_of_eight(file_format):
    wide = np.array([[0, 128, 129, 32_767, 32_768, 65_535]], dtype=np.uint16)

    row = row_of(file_of(wide, file_format), height=1, width=6)

    np.testing.assert_array_equal(row[0, :, 1], [0, 0, 1, 127, 128, 255])


def test_a_transparent_grey_of_sixteen_bits_shows_the_background():
    wide = np.array([[0, 500, 65_535]], dtype=np.uint16)

    row = row_of(file_of(wide, transparency=500), height=1, width=3, background="#102030")

    assert row[0].tolist() == [[0, 0, 0], [16, 32, 48], [255, 255, 255]]


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_transparency_lies_over_the_background(file_format):
    half_red = np.full((8, 8, 4), (255, 0, 0, 128), dtype=np.uint8)

    row = row_of(
        file_of(half_red, file_format, lossless=True), height=8, width=8, background="#0000ff"
    )

    assert set(map(tuple, row.reshape(-1, 3).tolist())) == {(128, 0, 127)}


def test_only_the_first_frame_counts():
    red, blue = (PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))

    for file_format in ("GIF", "WEBP", "TIFF", "PNG"):
        source = file_of(red, file_format, save_all=True, append_images=[blue])
        row = row_of(source, height=8, width=8)

        assert psnr(row, np.broadcast_to([255, 0, 0], (8, 8, 3))) > 35


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(1, 1), (1, 4_000), (4_000, 1), (3, 2)])
def test_a_picture_of_a_strange_shape_fills_the_row(file_format, size):
    grey = PIL.Image.new("RGB", size, (77, 77, 77))

    row = row_of(file_of(grey, file_format))

    assert (row == 77).all()


def test_rgb_and_grey_of_a_grey_picture_agree():
    source = samples.image("JPEG", mode="L", height=300, width=500)

    grey, rgb = (row_of(source, height=64, width=64, channels=number) for number in (1, 3))

    np.testing.assert_array_equal(rgb, np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize("exif", [b"no header of TIFF", b"II*\0\x08\0\0\0\5\0\x12\1"])
def test_metadata_that_cannot_be_read_is_noted_and_harms_nothing(exif):
    source = samples.image("JPEG", exif=b"Exif\0\0" + exif, height=32, width=32)

    row, told = decoded(Image(height=32, width=32), source)

    assert told.notes == ("unreadable Exif",)
    np.testing.assert_array_equal(
        row, row_of(samples.image("JPEG", height=32, width=32), height=32, width=32)
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (samples.image("ICO"), "unsupported format: an ICO icon; convert it to JPEG or PNG"),
        (samples.image("JPEG2000"), "unsupported format: a JPEG 2000 picture; convert it to JPEG"),
        (samples.image("TGA"), "unsupported format: a TGA picture; convert it to JPEG or PNG"),
        (b"qoif" + bytes(20), "unsupported format: a QOI picture; convert it to JPEG or PNG"),
        (b"8BPS\0\1" + bytes(20), "unsupported format: a PSD picture (Photoshop); convert it"),
        (b"\0\0\0\x20ftypheic" + bytes(20), "unsupported format: a HEIC picture; convert it to"),
        (b"\xff\x0a" + bytes(20), "unsupported format: a JPEG XL picture; convert it to JPEG"),
        (b"\0\0\0\x20ftypisom", "not an image: an MP4 video; take its frames out first"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not an image: a Git LFS pointer, not"),
        (samples.tone(), "not an image: a WAV sound; is this the right column?"),
        (bytes(99), "not an image: nothing but bytes 0x00"),
        (samples.image("TIFF")[:60], "corrupt TIFF: "),
    ],
)
def test_what_is_no_picture_that_can_be_read_is_named(source, said):
    with pytest.raises(InvalidSample) as verdict:
        row_of(source)

    assert str(verdict.value).startswith(said)
    assert str(verdict.value).isprintable()


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "tiff_adobe_deflate"])
def test_damaged_pixels_are_refused_in_words(compression):
    source = bytearray(samples.image("TIFF", compression=compression, height=200, width=200))
    for at in range(200, len(source) - 200, 97):
        source[at] ^= 0xFF

    with pytest.raises(InvalidSample) as verdict:
        row_of(bytes(source))

    assert "error" not in str(verdict.value)
    assert str(verdict.value).isprintable()


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_more_pixels_than_allowed_are_refused_by_their_number(file_format):
    source = samples.image(file_format, height=48, width=64)

    with pytest.raises(InvalidSample) as verdict:
        row_of(source, max_pixels=3_071)

    assert str(verdict.value) == "too many pixels: 3,072 claimed, max_pixels is 3,071"
    assert row_of(source, max_pixels=3_072).any()


def test_a_huge_canvas_of_an_animation_is_refused_before_it_is_made(data):
    bomb = bytearray((data / "odd/image/decompression_bomb.gif").read_bytes())
    disposal = bomb.index(b"!\xf9\x04") + 3
    bomb[disposal] = 2 << 2
    start = time.process_time()

    with pytest.raises(InvalidSample, match="too many pixels: 4,364,696,535 claimed"):
        row_of(bytes(bomb))

    assert time.process_time() - start < 0.2


def test_the_limits_of_pillow_are_as_before_afterwards():
    before = PIL.Image.MAX_IMAGE_PIXELS

    row_of(samples.image())

    assert before == PIL.Image.MAX_IMAGE_PIXELS is not None


def test_a_background_that_is_no_colour_is_refused():
    with pytest.raises(ValueError, match="write six hexadecimal digits"):
        Image(background="white")


def test_every_odd_picture_is_stored_or_refused_with_its_reason(data):
    for path in sorted((data / "odd/image").iterdir()):
        try:
            decoded(Image(), path.read_bytes())
        except InvalidSample as verdict:
            assert str(verdict).startswith(NOT_USABLE[path.name])
        else:
            assert path.name not in NOT_USABLE


def test_no_odd_picture_takes_long_or_much_memory(data):
    done = subprocess.run(
        [sys.executable, "-c", ODD_RUN, data / "odd/image"],
        capture_output=True,
        check=True,
    )

    peak_mb, seconds = json.loads(done.stdout)
    assert peak_mb < 1_024
    assert max(seconds.values()) < 10


def test_several_threads_give_the_verdicts_and_pixels_of_one(data):
    plugin = Image(height=32, width=32, max_pixels=10_000_000)
    files = sorted((data / "odd" / "image").iterdir())
    contents = [path.read_bytes() for path in files]

    def decode(content):
        out = np.zeros((32, 32, 3), np.uint8)
        try:
            return out.tobytes(), plugin.decode(content, out).notes
        except InvalidSample as verdict:
            return str(verdict)

    limit = PIL.Image.MAX_IMAGE_PIXELS
    alone = [decode(content) for content in contents]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(decode, contents * 4))

    assert together == alone * 4
    assert limit == PIL.Image.MAX_IMAGE_PIXELS
    assert len({found for found in alone if isinstance(found, str)}) > 10
