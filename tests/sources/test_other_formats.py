import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from sampan.errors import DataError, InvalidSample
from sampan.formats import HEAD_BYTES, is_no_text
from sampan.modalities.text import Text
from sampan.sources.table import Table

ROWS = b'{"id": 1, "a": "x"}\n'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "b")
    return file.getvalue()


KINDS = {
    "gzip": gzip.compress(ROWS),
    "bzip2": bz2.compress(ROWS),
    "xz": lzma.compress(ROWS),
    "zstd": b"\x28\xb5\x2f\xfd" + b"\0" * 20,
    "a tar archive": tar(),
    "a ZIP archive": zipped(),
    "a Git LFS pointer": POINTER,
    "an HTML page": b"\n<!DOCTYPE html><html>",
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet", "jsonl.gz", "dat"])
def test_a_table_that_is_something_else_is_named_with_what_would_help(tmp_path, name, ending):
    path = tmp_path / f"t.{ending}"
    path.write_bytes(KINDS[name])

    with pytest.raises(DataError) as fault:
        list(Table(path=str(path), key="id").read(path, ()))

    (line,) = fault.value.faults
    assert line.startswith(f"{path}: ")
    assert name in line
    assert line.isprintable()


def test_what_would_unpack_a_table_is_a_command(tmp_path):
    path = tmp_path / "my t.jsonl.gz"
    path.write_bytes(KINDS["gzip"])

    with pytest.raises(DataError, match=rf"unpack it: gunzip -k '{path}'$"):
        list(Table(path=str(path), key="id").read(path, ()))


def test_a_table_of_text_is_nothing_else():
    for content in (b"", b"id,a\n1,x\n", ROWS, b"<a>,b\n", b"ORCID,BZh,PAR1\n", "ID3 ä".encode()):
        assert not is_no_text(content[:HEAD_BYTES])


@pytest.mark.parametrize("name", ["gzip", "xz", "a tar archive", "a Git LFS pointer"])
def test_a_text_that_is_something_else_is_named(name):
    with pytest.raises(InvalidSample, match=f"^not (the )?text: .*{name}"):
        Text(bytes=64).decode(KINDS[name], bytearray(64))
