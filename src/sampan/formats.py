"""
What a file is, by the bytes it begins with: for messages about files that cannot be used.

Signatures are those of each format's specification, as PRONOM and libmagic list them.
"""

import ast
import codecs
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

HEAD_BYTES = 512
"""Of a file, that tell its format."""
Family = Literal["picture", "sound", "video", "archive", "table", "array", "text", "other"]
"""What is stored in a format, which decides what would help."""


class Format(NamedTuple):
    name: str
    """As in "a TIFF picture", with its article."""
    family: Family
    advice: str = ""
    """What helps, whatever was wanted."""


LFS = Format(
    "a Git LFS pointer, not the file itself", "other", "fetch the files with: git lfs pull"
)
ANNEX = Format("a git-annex pointer, not the file itself", "other", "fetch it with: git annex get")
HTML = Format("an HTML page", "text", "if a download failed, fetch it again")
PDF = Format("a PDF document", "other", "take its pages out as PNG, or its words as text")
XML = Format("an XML document", "text")
SVG = Format("an SVG drawing", "picture")
RTF = Format("an RTF document", "other", "save it as plain text")
OFFICE = Format("an office document", "other", "save it as plain text, CSV or PDF")
TORCH = Format("a PyTorch file", "array", "save it as safetensors")
PARQUET = Format("a Parquet table", "table", "set format: parquet")
ZIP = Format("a ZIP archive", "archive")
TAR = Format("a tar archive", "archive")
GZIP = Format("gzip-compressed", "archive")
MP3 = Format("an MP3 sound", "sound")
AAC = Format("an AAC sound", "sound")
MP4 = Format("an MP4 video", "video")
MOV = Format("a QuickTime video", "video")
HEIC = Format("a HEIC picture", "picture")
AVIF = Format("an AVIF picture", "picture")
JXL = Format("a JPEG XL picture", "picture")
JP2 = Format("a JPEG 2000 picture", "picture")

BEGINNINGS: Mapping[bytes, Format] = {
    b"\xff\xd8\xff": Format("a JPEG picture", "picture"),
    b"\x89PNG\r\n\x1a\n": Format("a PNG picture", "picture"),
    b"GIF87a": Format("a GIF picture", "picture"),
    b"GIF89a": Format("a GIF picture", "picture"),
    b"II*\0": Format("a TIFF picture", "picture"),
    b"MM\0*": Format("a TIFF picture", "picture"),
    b"II+\0": Format("a BigTIFF picture", "picture"),
    b"MM\0+": Format("a BigTIFF picture", "picture"),
    b"IIU\0": Format("a Panasonic raw picture", "picture"),
    b"IIRO": Format("an Olympus raw picture", "picture"),
    b"FUJIFILMCCD-RAW": Format("a Fujifilm raw picture", "picture"),
    b"II\xbc\x01": Format("a JPEG XR picture", "picture"),
    b"\xff\x0a": JXL,
    b"\0\0\0\x0cJXL \r\n\x87\n": JXL,
    b"\0\0\0\x0cjP  \r\n\x87\n": JP2,
    b"\xff\x4f\xff\x51": JP2,
    b"\0\0\x01\0": Format("an ICO icon", "picture"),
    b"icns": Format("an ICNS icon", "picture"),
    b"8BPS": Format("a PSD picture (Photoshop)", "picture"),
    b"gimp xcf": Format("an XCF picture (GIMP)", "picture"),
    b"qoif": Format("a QOI picture", "picture"),
    b"DDS ": Format("a DDS picture", "picture"),
    b"v/1\x01": Format("an OpenEXR picture", "picture"),
    b"#?RADIANCE": Format("a Radiance HDR picture", "picture"),
    b"\x0a\x05\x01": Format("a PCX picture", "picture"),
    b"\x01\xda": Format("an SGI picture", "picture"),
    b"AT&TFORM": Format("a DjVu document", "picture"),
    b"\xd7\xcd\xc6\x9a": Format("a WMF drawing", "picture"),
    b"%!PS": Format("a PostScript document", "picture"),
    b"\xc5\xd0\xd3\xc6": Format("an EPS drawing", "picture"),
    b"SIMPLE  =": Format("a FITS file", "array"),
    b"fLaC": Format("a FLAC sound", "sound"),
    b"ID3": MP3,
    b"RF64": Format("an RF64 sound", "sound"),
    b"RIFX": Format("a big-endian WAV sound", "sound"),
    b"riff\x2e\x91\xcf\x11": Format("a W64 sound", "sound"),
    b".snd": Format("an AU sound", "sound"),
    b"caff": Format("a CAF sound", "sound"),
    b"MThd": Format("a MIDI file, notes without sound", "other", "render it as WAV first"),
    b"#!AMR": Format("an AMR sound", "sound"),
    b"MAC ": Format("a Monkey's Audio sound", "sound"),
    b"wvpk": Format("a WavPack sound", "sound"),
    b"TTA1": Format("a TTA sound", "sound"),
    b"MP+": Format("a Musepack sound", "sound"),
    b"MPCK": Format("a Musepack sound", "sound"),
    b"DSD ": Format("a DSD sound", "sound"),
    b"FRM8": Format("a DSD sound", "sound"),
    b"NIST_1A": Format("a NIST SPHERE sound", "sound"),
    b"Creative Voice": Format("a VOC sound", "sound"),
    b"\x0b\x77": Format("an AC-3 sound", "sound"),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": Format("a Windows Media file (WMA, WMV)", "video"),
    b"\x1a\x45\xdf\xa3": Format("a Matroska or WebM video", "video"),
    b"FLV\x01": Format("an FLV video", "video"),
    b".RMF": Format("a RealMedia file", "video"),
    b"\0\0\x01\xba": Format("an MPEG video", "video"),
    b"\0\0\x01\xb3": Format("an MPEG video", "video"),
    b"PK\x03\x04": ZIP,
    b"PK\x05\x06": ZIP,
    b"PK\x07\x08": ZIP,
    b"\x1f\x8b": GZIP,
    b"\x1f\x9d": Format("a compressed file (.Z)", "archive"),
    b"BZh": Format("bzip2-compressed", "archive"),
    b"\xfd7zXZ\0": Format("xz-compressed", "archive"),
    b"\x28\xb5\x2f\xfd": Format("zstd-compressed", "archive"),
    b"\x04\x22\x4d\x18": Format("LZ4-compressed", "archive"),
    b"7z\xbc\xaf\x27\x1c": Format("a 7-Zip archive", "archive"),
    b"Rar!\x1a\x07": Format("a RAR archive", "archive"),
    b"MSCF\0\0\0\0": Format("a CAB archive", "archive"),
    b"\x89HDF\r\n\x1a\n": Format("an HDF5 or NetCDF file", "array"),
    b"CDF\x01": Format("a NetCDF file", "array"),
    b"CDF\x02": Format("a NetCDF file", "array"),
    b"CDF\x05": Format("a NetCDF file", "array"),
    b"\x93NUMPY": Format("a NumPy array", "array"),
    b"MATLAB 5.0": Format("a MATLAB file", "array"),
    b"GGUF": Format("a GGUF file of weights", "array"),
    b"PAR1": PARQUET,
    b"ARROW1": Format("an Arrow table", "table"),
    b"FEA1": Format("a Feather table", "table"),
    b"Obj\x01": Format("an Avro table", "table"),
    b"ORC": Format("an ORC table", "table"),
    b"SQLite format 3\0": Format("an SQLite database", "table"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": OFFICE,
    b"%PDF-": PDF,
    b"{\\rtf1": RTF,
    b"\x7fELF": Format("a program", "other"),
    b"version https://git-lfs.github.com/spec/": LFS,
    b"/annex/objects/": ANNEX,
}
BRANDS: Mapping[bytes, Format] = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), HEIC),
    **dict.fromkeys((b"mif1", b"msf1"), Format("a HEIF picture", "picture")),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    b"crx ": Format("a Canon raw picture (CR3)", "picture"),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), Format("an M4A sound", "sound")),
    b"qt  ": MOV,
}
"""What stands behind `ftyp` (ISO/IEC 14496-12); whatever else does is taken for MP4."""
BOXES = frozenset({b"moov", b"mdat", b"wide", b"pnot", b"skip"})
"""What a QuickTime file without `ftyp` begins with."""
FORMS: Mapping[bytes, Mapping[bytes, Format]] = {
    b"RIFF": {
        b"WAVE": Format("a WAV sound", "sound"),
        b"AVI ": Format("an AVI video", "video"),
        b"WEBP": Format("a WebP picture", "picture"),
        b"RMID": Format("a MIDI file, notes without sound", "other", "render it as WAV first"),
    },
    b"FORM": {
        b"AIFF": Format("an AIFF sound", "sound"),
        b"AIFC": Format("an AIFF-C sound", "sound"),
        b"ILBM": Format("an ILBM picture", "picture"),
    },
}
INSIDE_OGG: Mapping[bytes, Format] = {
    b"OpusHead": Format("an Ogg Opus sound", "sound"),
    b"\x01vorbis": Format("an Ogg Vorbis sound", "sound"),
    b"\x80theora": Format("an Ogg video", "video"),
    b"Speex   ": Format("a Speex sound", "sound"),
}
INSIDE_ZIP: Mapping[bytes, Format] = {
    b"[Content_Types].xml": OFFICE,
    b"mimetypeapplication/vnd.oasis": OFFICE,
    b"mimetypeapplication/epub": Format("an EPUB book", "other", "save it as plain text"),
    b"/data.pkl": TORCH,
    b".npy": Format("a NumPy archive", "array"),
}
PICKLE = re.compile(rb"\x80[\x02-\x05](?:c|\x95|}|\]|\(|K|X|C|\x8a|q)", re.DOTALL)
NETPBM = re.compile(rb"P[1-7](?:\s|#)")
MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<(!doctype html|html|head|body|svg|\?xml)", re.IGNORECASE
)
ADVICE: Mapping[tuple[Family, str], str] = {
    ("picture", "image"): "convert it to JPEG or PNG",
    ("sound", "audio"): "convert it to WAV or FLAC",
    ("video", "image"): "take its frames out first, as JPEG or PNG",
    ("video", "audio"): "take its sound out first, as WAV or FLAC",
    ("array", "image"): "save it as PNG or TIFF",
    ("array", "audio"): "save it as WAV",
    ("picture", "table"): "path: names a table, whose cells name such files",
    ("sound", "table"): "path: names a table, whose cells name such files",
    ("video", "table"): "path: names a table, whose cells name such files",
    ("array", "table"): "convert it to CSV, JSON Lines or Parquet",
    ("table", "table"): "convert it to CSV, JSON Lines or Parquet",
}
"""(family, kind of modality) → what to do; where there is none, the column may be another's."""


def is_no_text(head: bytes) -> bool:
    """
    Whether these first bytes are known to be another file's: by control characters beside a format
    that is recognised, since a table's first word may be one that a format begins with.
    """
    known = recognised(head)
    if known in (LFS, ANNEX, HTML, PDF, RTF):
        return True
    return known is not None and known.family != "text" and _is_binary(head)


def _is_binary(head: bytes) -> bool:
    """Whether it is no UTF-8, or has control characters that no text has."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return True
    return any(sign < "\t" for sign in text)


def recognised(data: bytes) -> Format | None:
    """The format of a file, of which the first 512 bytes are enough; None for one not known."""
    head = data[:HEAD_BYTES]
    kind, form = head[4:8], FORMS.get(head[:4], {}).get(head[8:12])
    if form:
        return form
    if kind == b"ftyp":
        return BRANDS.get(head[8:12], MP4)
    if kind in BOXES:
        return MOV
    if head[:4] == b"OggS":
        inside = (found for mark, found in INSIDE_OGG.items() if mark in head[28:])
        return next(inside, Format("an Ogg file", "sound"))
    if head[:2] == b"PK":
        named = (found for mark, found in INSIDE_ZIP.items() if mark in head)
        return next(named, ZIP if head[:4] in BEGINNINGS else None)
    if markup := MARKUP.match(head):
        tag = markup[1].lower()
        return SVG if tag == b"svg" or b"<svg" in head else XML if tag == b"?xml" else HTML
    for beginning, found in BEGINNINGS.items():
        if head.startswith(beginning):
            return found
    return _by_structure(head, data)


def _by_structure(head: bytes, data: bytes) -> Format | None:
    """Formats without a beginning of their own."""
    if head[257:262] == b"ustar" or _is_old_tar(head):
        return TAR
    if head[128:132] == b"DICM":
        return Format("a DICOM file", "picture")
    if head[344:347] in (b"n+1", b"ni1"):
        return Format("a NIfTI volume", "array")
    if head[:4] == b"\0\0\x02\0" and any(head[4:6]):  # a TGA picture has none there
        return Format("a CUR cursor", "picture")
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return Format("a BMP picture", "picture")
    if head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G":
        return Format("an MPEG transport stream", "video")
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Format("a text in UTF-16", "text", "convert it to UTF-8")
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return MP3 if head[1] & 0x06 else AAC if head[1] & 0xF0 == 0xF0 else None
    if NETPBM.match(head):
        return Format("a PBM, PGM or PPM picture", "picture")
    if PICKLE.match(head):
        return Format("a Python pickle", "other", "save it as another format: it is never opened")
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 2**27:
        return Format("a safetensors file", "array")
    if data[-18:-1] == b"TRUEVISION-XFILE." or _is_tga(head):
        return Format("a TGA picture", "picture")
    return None


def _is_old_tar(head: bytes) -> bool:
    """By the checksum of its first header, which tar had before "ustar"."""
    claimed = head[148:156].strip(b" \0")
    if len(head) < 512 or not claimed or not set(claimed) <= set(b"01234567"):
        return False
    return int(claimed, 8) == sum(head) - sum(head[148:156]) + 8 * ord(" ")


def _is_tga(head: bytes) -> bool:
    """By the fields of its header that have few values (Truevision TGA 2.0)."""
    if len(head) < 18 or head[1] > 1 or head[2] not in (1, 2, 3, 9, 10, 11):
        return False
    sides = (int.from_bytes(head[12:14], "little"), int.from_bytes(head[14:16], "little"))
    plain = (head[1] == 1) == (head[2] in (1, 9)) and (head[1] == 1 or not any(head[3:8]))
    return plain and all(sides) and head[16] in (8, 15, 16, 24, 32) and head[17] & 0xC0 == 0


def described(data: bytes, wanted: str) -> str:
    """
    What a file is that is no `wanted` ("image", "audio", "text", "table", "weights"), and what
    would help: "a HEIC picture; convert it to JPEG or PNG". Printable text in every case.
    """
    known = recognised(data)
    if known is None:
        return beginning(data)
    helps = known.advice or ADVICE.get((known.family, wanted), "")
    if not helps and known.family == "archive":
        helps = "unpack it first"
    return f"{known.name}; {helps or 'is this the right column?'}"


def beginning(data: bytes, num_bytes: int = 16) -> str:
    """The first bytes of a file that nobody recognises: as words, or else as numbers."""
    head = data[:num_bytes]
    if len(data) > 1 and not data.strip(data[:1]):
        return f"nothing but bytes 0x{data[0]:02x}"
    words = " ".join(head.decode("utf-8-sig", "replace").rstrip("\ufffd").split())
    if words.isprintable() and "\ufffd" not in words and words:
        return f'begins with the text "{words}"'
    return f"begins with the bytes {head.hex(' ')}"


def plain(text: str, most: int = 200) -> str:
    """
    A message of a library in one line of printable text: no control characters, no Python bytes.
    """
    text = re.sub(r"\bb('[^']*'|\"[^\"]*\")", lambda quoted: _words(quoted[0]), text)
    kept = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(kept.split())[:most]


def _words(quoted: str) -> str:
    try:
        value = ast.literal_eval(quoted)
    except (ValueError, SyntaxError):
        return "?"
    printable = all(32 <= byte < 127 for byte in value)
    return value.decode() if printable else f"0x{value.hex()}"
