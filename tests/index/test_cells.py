import base64
from pathlib import Path

import pytest

from sampan.errors import InvalidSample
from sampan.index.cells import Base64, CellReader, FilePath, Value
from sampan.index.sample_files import SampleFiles

BYTES = bytes(range(256)) * 3


def reader(how, folder=Path("/nowhere"), max_bytes=1000):
    return CellReader(SampleFiles([folder], max_bytes, patience_seconds=0), how)


@pytest.mark.parametrize("how", ["path", "value", "base64"])
@pytest.mark.parametrize("cell", [None, "", b""])
def test_an_empty_cell_has_no_content_and_is_no_fault(how, cell):
    assert reader(how).cell(0, cell) is None


@pytest.mark.parametrize("how", ["path", "base64"])
def test_a_blank_cell_is_empty_where_it_is_no_value_itself(how):
    assert reader(how).cell(0, " \t") is None
    assert content(reader("value"), " \t").data == b" \t"


def test_a_cell_holds_a_path_a_text_or_bytes(tmp_path):
    (tmp_path / "a.bin").write_bytes(BYTES)

    assert content(reader("path", tmp_path), "a.bin").data == BYTES
    made = reader("path", tmp_path)
    assert made.size(made.cell(0, "a.bin")) == len(BYTES)
    assert content(reader("path", tmp_path), BYTES).data == BYTES
    assert content(reader("value"), "été").data == "été".encode()


WRITTEN = {
    "plain": base64.b64encode(BYTES).decode(),
    "without padding": base64.b64encode(BYTES[:-2]).decode().rstrip("="),
    "for URLs": base64.urlsafe_b64encode(BYTES).decode(),
    "in lines": base64.encodebytes(BYTES).decode(),
    "in lines of CRLF": base64.encodebytes(BYTES).decode().replace("\n", "\r\n"),
    "as a URI": "data:image/png;base64," + base64.b64encode(BYTES).decode(),
    "as a URI with parameters": "DATA:image/png;name=a b.png;Base64,"
    + base64.b64encode(BYTES).decode(),
    "as a URI without a type": "data:;base64," + base64.b64encode(BYTES).decode(),
    "as bytes": base64.b64encode(BYTES),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_base64_is_read_as_people_write_it(written):
    wanted = BYTES[:-2] if written == "without padding" else BYTES

    assert content(reader("base64"), WRITTEN[written]).data == wanted


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("images/a.png", "not base64: "),
        ("AAAA=AAA", "not base64: "),
        ("A", "not base64: "),
        ("AA+-", "not base64: signs of two alphabets"),
        ("ÅÅÅÅ", "not base64: "),
        ("\ud800", "not text: "),
        ("data:image/png,%89PNG", "a data: URI that is not in base64"),
        ("data:" + "x" * 300, "not a data: URI: it has no comma"),
    ],
)
def test_what_is_no_base64_costs_one_sample(cell, reason):
    with pytest.raises(InvalidSample) as verdict:
        content(reader("base64"), cell)

    assert str(verdict.value).startswith(reason)


def test_a_value_above_the_limit_is_not_decoded(monkeypatch):
    monkeypatch.setattr("sampan.index.cells.binascii.a2b_base64", None)

    with pytest.raises(InvalidSample, match=r"value too large: 4,000,000 characters of base64"):
        content(reader("base64"), "A" * 4_000_000)


def test_a_value_just_within_the_limit_is_decoded_and_one_byte_more_is_not():
    most = base64.encodebytes(b"x" * 1000).decode().replace("\n", "\r\n")

    assert len(content(reader("base64"), most).data) == 1000
    with pytest.raises(InvalidSample, match="value too large: 1,001 bytes; max_bytes is 1,000"):
        content(reader("base64"), base64.b64encode(b"x" * 1001).decode())


def content(made, stored):
    cell = made.cell(0, stored)
    assert cell is not None
    return made.read(cell)


@pytest.mark.parametrize(
    ("how", "stored", "expected"),
    [
        ("path", "a/b.jpg", FilePath(3, "a/b.jpg")),
        ("path", b"bytes beside paths", Value(b"bytes beside paths")),
        ("value", "text", Value("text")),
        ("value", b"bytes", Value(b"bytes")),
        ("base64", "QQ==", Base64("QQ==")),
        ("base64", b"QQ==", Base64(b"QQ==")),
    ],
)
def test_what_the_index_stores_is_a_cell_of_one_kind(how, stored, expected):
    assert reader(how).cell(3, stored) == expected


def test_a_path_that_is_not_read_is_not_asked_for_its_size_either(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "secret.bin").write_bytes(b"x" * 100)
    made = reader("path", tmp_path / "here")

    for path in (str(tmp_path / "secret.bin"), "../secret.bin"):
        cell = made.cell(0, path)
        with pytest.raises(InvalidSample):
            made.size(cell)
        with pytest.raises(InvalidSample):
            made.read(cell)
