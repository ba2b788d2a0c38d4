import io
import sqlite3
import struct
import tarfile
import zipfile

import hypothesis.strategies as st
import pytest
from hypothesis import given

from sampan.formats import beginning, described, plain, recognised
from sampan.testing import samples

BOX = b"\0\0\0\x20ftyp"
NAMES = {
    BOX + b"heic": "a HEIC picture",
    BOX + b"mif1": "a HEIF picture",
    BOX + b"avif": "an AVIF picture",
    BOX + b"M4A ": "an M4A sound",
    BOX + b"isom": "an MP4 video",
    BOX + b"mp42": "an MP4 video",
    BOX + b"qt  ": "a QuickTime video",
    b"\0\0\0\x08wide\0\0": "a QuickTime video",
    b"\x1a\x45\xdf\xa3\x01": "a Matroska or WebM video",
    b"RIFF\0\0\0\0AVI LIST": "an AVI video",
    b"\0\0\2\0\1\0\x20\x20": "a CUR cursor",
    b"\xff\x0a\xfa\x1f": "a JPEG XL picture",
    b"\0\0\0\x0cJXL \r\n\x87\n": "a JPEG XL picture",
    b"\0\0\0\x0cjP  \r\n\x87\n": "a JPEG 2000 picture",
    b"qoif\0\0\1\0": "a QOI picture",
    b"8BPS\0\1": "a PSD picture (Photoshop)",
    b"FORM\0\0\0\0AIFFCOMM": "an AIFF sound",
    b"OggS\0\2" + bytes(22) + b"\1\x13OpusHead": "an Ogg Opus sound",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9": "a Windows Media file (WMA, WMV)",
    b"MThd\0\0\0\6": "a MIDI file, notes without sound",
    b"\xff\xf1\x50\x80\x02": "an AAC sound",
    b"\xff\xfb\x90\x64": "an MP3 sound",
    b"\xff\xfea\0b\0": "a text in UTF-16",
    b"\x1f\x8b\x08\0": "gzip-compressed",
    b"7z\xbc\xaf\x27\x1c\0": "a 7-Zip archive",
    b"%PDF-1.7\n%\xe2\xe3": "a PDF document",
    b"<!DOCTYPE html><html>": "an HTML page",
    b"\n <HTML><head>": "an HTML page",
    b"<?xml version='1.0'?><svg xmlns=''>": "an SVG drawing",
    b"<?xml version='1.0'?><rss>": "an XML document",
    b"version https://git-lfs.github.com/spec/v1\noid": "a Git LFS pointer, not the file itself",
    b"/annex/objects/MD5E-s1": "a git-annex pointer, not the file itself",
    b"\x89HDF\r\n\x1a\n": "an HDF5 or NetCDF file",
    b"\x93NUMPY\1\0": "a NumPy array",
    b"PAR1\x15\0": "a Parquet table",
    b"\x80\x04\x95\x10\0": "a Python pickle",
    struct.pack("<Q", 64) + b'{"weight"': "a safetensors file",
    bytes(128) + b"DICM": "a DICOM file",
    b"P6\n640 480\n255\n": "a PBM, PGM or PPM picture",
    b"PK\3\4" + bytes(26) + b"[Content_Types].xml": "an office document",
}


@pytest.mark.parametrize("data", NAMES, ids=NAMES.values())
def test_a_file_is_known_by_its_beginning(data):
    assert recognised(data).name == NAMES[data]


@pytest.mark.parametrize(
    ("file_format", "name"),
    [
        ("JPEG", "a JPEG picture"),
        ("PNG", "a PNG picture"),
        ("WEBP", "a WebP picture"),
        ("GIF", "a GIF picture"),
        ("BMP", "a BMP picture"),
        ("TIFF", "a TIFF picture"),
        ("AVIF", "an AVIF picture"),
        ("ICO", "an ICO icon"),
        ("JPEG2000", "a JPEG 2000 picture"),
        ("TGA", "a TGA picture"),
        ("PCX", "a PCX picture"),
        ("PPM", "a PBM, PGM or PPM picture"),
        ("DDS", "a DDS picture"),
        ("ICNS", "an ICNS icon"),
        ("SGI", "an SGI picture"),
        ("EPS", "a PostScript document"),
        ("PDF", "a PDF document"),
    ],
)
def test_what_pillow_writes_is_known(file_format, name):
    assert recognised(samples.image(file_format, height=64, width=64)).name == name


@pytest.mark.parametrize(
    ("file_format", "name"),
    [
        ("WAV", "a WAV sound"),
        ("RF64", "an RF64 sound"),
        ("FLAC", "a FLAC sound"),
        ("OGG", "an Ogg Vorbis sound"),
        ("MP3", "an MP3 sound"),
        ("AIFF", "an AIFF sound"),
        ("W64", "a W64 sound"),
        ("AU", "an AU sound"),
        ("CAF", "a CAF sound"),
        ("VOC", "a VOC sound"),
        ("NIST", "a NIST SPHERE sound"),
    ],
)
def test_what_libsndfile_writes_is_known(file_format, name):
    assert recognised(samples.tone(file_format)).name == name


def test_archives_and_databases_are_known(tmp_path):
    tar, zipped = io.BytesIO(), io.BytesIO()
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        tar.seek(0)
        with tarfile.open(fileobj=tar, mode="w", format=form) as archive:
            archive.addfile(tarfile.TarInfo("a.txt"))
        assert recognised(tar.getvalue()).name == "a tar archive"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.txt", "a")
    with sqlite3.connect(tmp_path / "db") as database:
        database.execute("create table t (a)")
    database.close()

    assert recognised(zipped.getvalue()).name == "a ZIP archive"
    assert recognised((tmp_path / "db").read_bytes()).name == "an SQLite database"


def test_a_tar_of_before_ustar_is_known_by_its_checksum():
    header = bytearray(512)
    header[:5] = b"a.txt"
    header[148:156] = b"%06o\0 " % (sum(header) + 8 * 32)

    assert recognised(bytes(header)).name == "a tar archive"


@pytest.mark.parametrize(
    "text",
    [b"a caption", b"BMW in the snow", b"MAC", b"", b"\0", bytes(600), b"{}", b"id,image\n1,a"],
)
def test_other_bytes_are_nothing_that_is_known(text):
    assert recognised(text) is None


@pytest.mark.parametrize(
    ("data", "wanted", "said"),
    [
        (BOX + b"heic", "image", "a HEIC picture; convert it to JPEG or PNG"),
        (BOX + b"M4A ", "audio", "an M4A sound; convert it to WAV or FLAC"),
        (BOX + b"isom", "image", "an MP4 video; take its frames out first, as JPEG or PNG"),
        (BOX + b"isom", "audio", "an MP4 video; take its sound out first, as WAV or FLAC"),
        (b"\x1f\x8b\x08\0", "text", "gzip-compressed; unpack it first"),
        (BOX + b"heic", "text", "a HEIC picture; is this the right column?"),
        (b"abc", "image", 'begins with the text "abc"'),
        (b"\xef\xbb\xbfid\tkey", "image", 'begins with the text "id key"'),
        (b"\1\2\x9b\n", "image", "begins with the bytes 01 02 9b 0a"),
        (bytes(900), "image", "nothing but bytes 0x00"),
    ],
)
def test_a_description_says_what_would_help(data, wanted, said):
    assert described(data, wanted) == said


@given(st.binary(max_size=600) | st.text(max_size=50).map(str.encode))
def test_no_description_has_control_characters(data):
    assert described(data, "image").isprintable()
    assert beginning(data).isprintable()


@given(st.text() | st.binary().map(lambda data: f"broken chunk {data!r} in {data!r}"))
def test_a_library_s_message_becomes_one_line_without_bytes(text):
    assert plain(text).isprintable()
    assert "\\x" not in plain("chunk " + repr(b"\xf4\xa8"))


def test_words_in_bytes_stay_words():
    assert plain("broken PNG file (chunk b'IDAT')") == "broken PNG file (chunk IDAT)"
