"""Quotes: rows never vanish, whether a table quotes or not."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.errors import DataError
from sampan.sources import delimited
from sampan.sources.table import Table

OPEN = "a quote opens a cell and does not close in this row"


def read(path: Path, content: str, **given: Any) -> list[tuple[str, Any, str | None]]:
    """(key, caption, reason before the colon) of every row."""
    path.write_text(content, newline="")
    table = Table(path=str(path), key="id", **given)
    return [
        (key, cell, reason and reason.partition(": ")[0])
        for cells in table.read(path, ("a",))
        for key, cell, reason in zip(cells.keys, cells.columns["a"], cells.reasons, strict=True)
    ]


def unquoted(captions: dict[int, str], rows: int, sign: str = "\t") -> str:
    lines = [f"k{i}{sign}{captions.get(i, f'word {i}')}\n" for i in range(rows)]
    return f"id{sign}a\n" + "".join(lines)


@pytest.mark.parametrize("rows", [102, 1_000, 3_000])
def test_a_quote_that_opens_a_cell_and_never_closes_costs_its_own_row_alone(tmp_path, rows):
    found = read(tmp_path / "t.tsv", unquoted({100: '"Opening only'}, rows))

    assert len(found) == rows
    assert found[100] == ("", None, OPEN)
    assert [i for i, row in enumerate(found) if row[2]] == [100]
    assert found[101] == ("k101", "word 101", None)


def test_the_reason_names_the_setting(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(unquoted({1: '"Opening only'}, 9))

    (cells,) = Table(path=str(path), key="id").read(path, ())

    assert cells.reasons[1] == f"{OPEN}: set quote: none, if the table does not quote"


def test_a_cell_beyond_the_limit_of_bytes_costs_its_own_row_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "LONGEST_CELL", 100)

    found = read(tmp_path / "t.tsv", unquoted({1: '"Opening only'}, 50))

    assert [i for i, row in enumerate(found) if row[2]] == [1]
    assert len(found) == 50


@pytest.mark.parametrize("sign", ["\t", ",", ";"])
@pytest.mark.parametrize("closing", [2, 3, 40])
def test_a_quoted_cell_of_lines_that_look_like_rows_is_asked_about(tmp_path, sign, closing):
    content = unquoted({1: '"Opening only', closing: 'said "'}, 50, sign)

    with pytest.raises(DataError) as fault:
        read(tmp_path / "t.csv", content, delimiter=sign)

    assert fault.value.faults == (
        f"{tmp_path}/t.csv: row 1, counting from 0 (key 'k1'): a quote opens a cell that goes on "
        f"for {closing} lines, which look like rows of their own; set quote: none, if the table "
        "does not quote, or quote: '\"' if these lines are one cell",
    )


def test_such_a_cell_is_one_where_the_table_is_said_to_quote(tmp_path):
    content = unquoted({1: '"Opening only', 3: 'said "'}, 5)

    found = read(tmp_path / "t.tsv", content, quote='"')

    assert [key for key, *_ in found] == ["k0", "k1", "k4"]
    assert found[1][1] == "Opening only\nk2\tword 2\nk3\tsaid "


@pytest.mark.parametrize("quote", ["auto", '"'])
def test_quotes_that_open_and_close_in_different_rows_cost_these_alone(tmp_path, quote):
    content = unquoted({3: '"one', 6: '"another"', 8: '"two', 11: '"three" and'}, 20)

    found = read(tmp_path / "t.tsv", content, quote=quote)

    assert [key or i for i, (key, *_) in enumerate(found)] == [
        *("k0", "k1", "k2", 3, "k4", "k5", "k6", "k7", 8, "k9", "k10", 11),
        *(f"k{i}" for i in range(12, 20)),
    ]


def test_a_quote_is_a_sign_like_any_other_where_the_table_does_not_quote(tmp_path):
    captions = {0: '"Opening only', 1: '"both"', 2: 'in "the" middle', 3: '""', 4: '"a', 5: 'b"'}

    found = read(tmp_path / "t.tsv", unquoted(captions, 6), quote="none")

    assert found == [(f"k{i}", caption, None) for i, caption in captions.items()]


def test_captions_of_several_lines_are_read_where_they_do_not_look_like_rows(tmp_path):
    captions = [
        "one\ntwo, with comma",
        "a\n\nb",
        "first\r\nhe said, and she said",
        "1 dog,\n2 cats",
    ]
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("id", "a"), *enumerate(captions)])

    found = read(tmp_path / "t.csv", file.getvalue())

    assert found == [(str(i), caption, None) for i, caption in enumerate(captions)]


@pytest.mark.parametrize("lines", [1_000, 1_001])
def test_a_cell_of_more_lines_than_the_limit_is_a_fault_with_its_row(tmp_path, lines):
    content = 'id,a\n1,x\n2,"' + "\n".join(["a line"] * lines) + '"\n3,z\n'
    if lines <= delimited.MOST_LINES:
        assert [key for key, *_ in read(tmp_path / "t.csv", content)] == ["1", "2", "3"]
        return

    with pytest.raises(DataError, match=r"row 1, counting from 0 \(key '2'\): .* 1,000 lines; set"):
        read(tmp_path / "t.csv", content)


def test_a_cell_that_is_cut_with_its_file_is_one_bad_row(tmp_path):
    found = read(tmp_path / "t.csv", 'id,a\n1,x\n2,"a caption\nof two li')

    assert found == [("1", "x", None), ("", None, "unreadable row")]


def test_a_header_that_takes_in_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match="a quote opens in the header and closes 2 lines further"):
        read(tmp_path / "t.tsv", 'id\ta\t"note\nk0\tb\tc"\nk1\tb\tc\n')


def test_rows_that_old_macs_ended_are_told(tmp_path):
    message = r"t\.csv: rows end with carriage returns alone, as on old Macs; convert it: tr "

    for content in ("id,a\r1,b\r2,c\r", "id,a\r1,b", 'id,a\r1,"b"\r'):
        with pytest.raises(DataError, match=message):
            read(tmp_path / "t.csv", content)
    with pytest.raises(DataError, match=message.replace(r"t\.csv: ", r"row 1, .*: ")):
        read(tmp_path / "t.csv", "id,a\r\n1,b\n2,c\r3,d\r4,e\n")


def test_a_carriage_return_in_a_cell_spoils_one_row(tmp_path):
    found = read(tmp_path / "t.csv", 'id,a\n1,one\rtwo\n2,"one\rtwo"\n3,c\r\n')

    assert found == [("", None, "unreadable row"), ("2", "one\rtwo", None), ("3", "c", None)]


@pytest.mark.parametrize("closing", ["9e\tend", '9e\tan "'])
def test_no_row_goes_missing_where_some_of_hexadecimal_keys_are_decimal(tmp_path, closing):
    lines = ["id\ta", "0c\tone", '12\t"two', "3f\tthree", "b4\tfour", "d5\tfive", closing]
    try:
        found = read(tmp_path / "t.tsv", "\n".join(lines) + "\n")
    except DataError as fault:
        assert "row 1, counting from 0 (key '12')" in str(fault)
        return

    assert len(found) == len(lines) - 1


CELL = st.text(st.sampled_from(list('ab "')), max_size=4)


@settings(max_examples=300, deadline=None)
@given(table=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=7), place=st.integers(0, 2))
def test_a_table_that_does_not_quote_gives_as_many_rows_as_it_has_or_an_error(
    tmp_path_factory, table, place
):
    rows = [(f"k{i}", *cells) for i, cells in enumerate(table)]
    order = [0, 1, 2] if place == 0 else [1, 0, 2] if place == 1 else [1, 2, 0]
    names = ("id", "a", "b")
    lines = ["\t".join(row[i] for i in order) for row in [names, *rows]]

    try:
        found = read(tmp_path_factory.getbasetemp() / "u.tsv", "\n".join(lines) + "\n")
    except DataError:
        return

    assert len(found) == len(table)
    assert all(key == f"k{i}" for i, (key, _, reason) in enumerate(found) if not reason)


PROSE = st.text(st.sampled_from(list("ab \n,\"'")), max_size=12)


@settings(max_examples=200, deadline=None)
@given(captions=st.lists(PROSE, min_size=1, max_size=5), sign=st.sampled_from(",\t"))
def test_a_table_that_quotes_is_read_as_it_was_written_or_asked_about(
    tmp_path_factory, captions, sign
):
    file = io.StringIO(newline="")
    rows = [("id", "a"), *((f"{i}", text) for i, text in enumerate(captions))]
    csv.writer(file, delimiter=sign).writerows(rows)

    try:
        found = read(tmp_path_factory.getbasetemp() / "q.csv", file.getvalue(), delimiter=sign)
    except DataError:
        return

    assert found == [(f"{i}", text, None) for i, text in enumerate(captions)]
