import base64
from pathlib import Path

import pytest

from sampan.errors import InvalidSample
from sampan.sources.cells import CellReader
from sampan.sources.files import SampleFiles

BYTES = bytes(range(256)) * 3


def reader(how, folder=Path("/nowhere"), max_bytes=1000):
    return CellReader(SampleFiles([folder], max_bytes, patience_seconds=0), how)


@pytest.mark.parametrize("how", ["path", "value", "base64"])
@pytest.mark.parametrize("cell", [None, "", b""])
def test_an_empty_cell_has_no_content_and_is_no_fault(how, cell):
    assert reader(how).read(0, cell) is None
    assert reader(how).size(0, cell) is None


@pytest.mark.parametrize("how", ["path", "base64"])
def test_a_blank_cell_is_empty_where_it_is_no_value_itself(how):
    assert reader(how).read(0, " \t") is None
    assert reader("value").read(0, " \t").data == b" \t"


def test_a_cell_holds_a_path_a_text_or_bytes(tmp_path):
    (tmp_path / "a.bin").write_bytes(BYTES)

    assert reader("path", tmp_path).read(0, "a.bin").data == BYTES
    assert reader("path", tmp_path).size(0, "a.bin") == len(BYTES)
    assert reader("path", tmp_path).read(0, BYTES).data == BYTES
    assert reader("value").read(0, "été").data == "été".encode()


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

    assert reader("base64").read(0, WRITTEN[written]).data == wanted


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
        reader("base64").read(0, cell)

    assert str(verdict.value).startswith(reason)


def test_a_value_above_the_limit_is_not_decoded(monkeypatch):
    monkeypatch.setattr("sampan.sources.cells.binascii.a2b_base64", None)

    with pytest.raises(InvalidSample, match=r"value too large: 4,000,000 characters of base64"):
        reader("base64").read(0, "A" * 4_000_000)


def test_a_value_just_within_the_limit_is_decoded_and_one_byte_more_is_not():
    most = base64.encodebytes(b"x" * 1000).decode().replace("\n", "\r\n")

    assert len(reader("base64").read(0, most).data) == 1000
    with pytest.raises(InvalidSample, match="value too large: 1,001 bytes; max_bytes is 1,000"):
        reader("base64").read(0, base64.b64encode(b"x" * 1001).decode())
