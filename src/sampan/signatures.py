"""What a file is that is not what was expected, told from its first bytes; and what would help."""

import shlex
from typing import NamedTuple

HEAD_BYTES = 512


class Signature(NamedTuple):
    """A format's name with its article, and what to do with such a file."""

    name: str
    remedy: str

    def line(self, file: str) -> str:
        """Both, with commands for this file."""
        return f"{self.name}; {self.remedy.format(file=shlex.quote(file))}"


CONVERT = "convert it to CSV, JSON Lines or Parquet"
UNPACK = "jobs read a table from its middle on, which that does not allow; unpack it: "
NOT_A_TABLE = "path: names a table, whose cells name such files"
_MAGIC = (
    (0, b"\x1f\x8b", Signature("compressed with gzip", UNPACK + "gunzip -k {file}")),
    (0, b"BZh", Signature("compressed with bzip2", UNPACK + "bunzip2 -k {file}")),
    (0, b"\xfd7zXZ\0", Signature("compressed with xz", UNPACK + "unxz -k {file}")),
    (0, b"\x28\xb5\x2f\xfd", Signature("compressed with Zstandard", UNPACK + "unzstd {file}")),
    (0, b"\x04\x22\x4d\x18", Signature("compressed with LZ4", UNPACK + "unlz4 {file}")),
    (0, b"7z\xbc\xaf\x27\x1c", Signature("a 7z archive", "unpack it: 7z x {file}")),
    (257, b"ustar", Signature("a tar archive", "unpack it: tar -xf {file}")),
    (0, b"PK\x03\x04", Signature("a ZIP archive, as .xlsx and .npz are", "unpack or export it")),
    (0, b"\xd0\xcf\x11\xe0", Signature("an old Office file, such as .xls", CONVERT)),
    (0, b"PAR1", Signature("a Parquet file", "set format: parquet")),
    (0, b"ARROW1", Signature("an Arrow file", CONVERT)),
    (0, b"FEA1", Signature("a Feather file", CONVERT)),
    (0, b"ORC", Signature("an ORC file", CONVERT)),
    (0, b"Obj\x01", Signature("an Avro file", CONVERT)),
    (0, b"SQLite format 3\0", Signature("an SQLite database", CONVERT)),
    (0, b"\x89HDF\r\n\x1a\n", Signature("an HDF5 file", CONVERT)),
    (0, b"CDF\x01", Signature("a NetCDF file", CONVERT)),
    (0, b"CDF\x02", Signature("a NetCDF file", CONVERT)),
    (0, b"\x93NUMPY", Signature("a NumPy array", CONVERT)),
    (0, b"%PDF-", Signature("a PDF", CONVERT)),
    (0, b"\x89PNG\r\n\x1a\n", Signature("a PNG picture", NOT_A_TABLE)),
    (0, b"\xff\xd8\xff", Signature("a JPEG picture", NOT_A_TABLE)),
    (8, b"WEBP", Signature("a WebP picture", NOT_A_TABLE)),
    (8, b"WAVE", Signature("a WAV sound", NOT_A_TABLE)),
    (0, b"fLaC", Signature("a FLAC sound", NOT_A_TABLE)),
    (0, b"OggS", Signature("an Ogg sound", NOT_A_TABLE)),
    (0, b"ID3", Signature("an MP3 sound", NOT_A_TABLE)),
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        Signature("a Git LFS pointer, not the file itself", "fetch it: git lfs pull"),
    ),
)
PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
HTML = (b"<!doctype html", b"<html")


def signature_of(head: bytes) -> Signature | None:
    """The format that these first bytes of a file tell, 512 or all; None where they tell none."""
    for offset, magic, found in _MAGIC:
        if head.startswith(magic, offset):
            return found
    if head.startswith(PICKLES) and b"\0" in head:
        return Signature("a pickle, which is never read: it could run code", CONVERT)
    if head.lstrip()[:14].lower().startswith(HTML):
        return Signature("an HTML page, such as a login or an error page", "download it again")
    return None
