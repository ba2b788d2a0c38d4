import csv
import datetime
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan import plugins
from sampan.errors import ConfigError, DataError
from sampan.plugins import Cells
from sampan.sources import delimited, lines
from sampan.sources.table import Table


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(
    path: Path, columns: tuple[str, ...] = (), *, start: int = 0, size: int = 8192, **settings: Any
) -> list[tuple[Any, ...]]:
    """(key, cells …, reason) of every row."""
    table = Table(path=str(path), **({"key": "id"} | settings))
    return [
        row
        for cells in table.read(path, columns, start=start, rows=size)
        for row in zip(cells.keys, *cells.columns.values(), cells.reasons, strict=True)
    ]


def offsets(path: Path, **settings: Any) -> list[int]:
    table = Table(path=str(path), **({"key": "id"} | settings))
    return [offset for cells in table.read(path, ()) for offset in cells.offsets]


# CSV ----------------------------------------------------------------------------------------------


def test_csv_keeps_quotes_separators_and_line_ends_inside_of_quotes(data):
    found = rows(data / "odd/table/captions_messy.csv", ("caption", "label"))

    assert found == [
        ("1", 'a "quoted" caption', "cat", None),
        ("2", "line one\nline two, with comma", "dog", None),
        ("", None, None, "ragged row: 2 cells, the header has 3"),
        ("", None, None, "ragged row: 4 cells, the header has 3"),
        ("5", "", "", None),
        ("1", "duplicate id", "cat", None),
        ("6", '=HYPERLINK("x")', "cat", None),
        (" 7 ", " spaced ", " dog ", None),
        ("8", "NaN", "null", None),
    ]


def test_csv_in_latin1_is_read_where_the_encoding_is_given(data):
    path = data / "odd/table/captions_latin1.csv"

    found = rows(path, ("caption",), encoding="latin-1", delimiter=";")

    assert found == [("1", "café crème", None), ("2", "Zürich", None)]


def test_csv_in_another_encoding_makes_bad_rows_only_where_a_cell_is_needed(data):
    path = data / "odd/table/captions_latin1.csv"
    why = "not utf-8: set the source's encoding, or convert the table"

    assert rows(path, ("caption",), delimiter=";") == [("", None, why), ("", None, why)]
    assert rows(path, ("label",), delimiter=";") == [("1", "drink", None), ("2", "city", None)]


def test_a_row_after_one_in_another_encoding_is_read(tmp_path):
    path = write(tmp_path / "t.csv", b"id,a\n1,\xe9\n2,\xc3\xa9\n")

    assert [row[:2] for row in rows(path, ("a",))] == [("", None), ("2", "é")]


def test_a_semicolon_table_that_is_read_with_commas_lacks_its_columns(data):
    with pytest.raises(DataError) as fault:
        rows(data / "odd/table/captions_latin1.csv")

    (line,) = fault.value.faults
    assert line.endswith(
        "captions_latin1.csv: no column 'id'; there are: id;caption;label; set delimiter: ';'"
    )


def test_a_column_that_is_there_twice_cannot_be_used_but_others_can(data):
    path = data / "odd/table/duplicate_header.csv"

    with pytest.raises(DataError, match="2 columns are called 'label'; one is allowed"):
        rows(path, ("label",))
    assert rows(path) == [("1", None), ("2", None)]


def test_a_table_with_a_header_only_has_no_rows(data):
    assert rows(data / "odd/table/header_only.csv", ("image",)) == []


def test_all_missing_columns_have_a_line_each(data):
    path = data / "odd/table/header_only.csv"

    with pytest.raises(DataError) as fault:
        rows(path, ("photo", "sound"))

    assert fault.value.faults == (
        f"{path}: no column 'photo'; there are: id, image, caption, label",
        f"{path}: no column 'sound'; there are: id, image, caption, label",
    )


def test_blank_lines_are_no_rows(tmp_path):
    path = write(tmp_path / "t.csv", "\n\r\nid,a\r\n\r\n1,x\r\n\n2,y")

    assert rows(path, ("a",)) == [("1", "x", None), ("2", "y", None)]


@pytest.mark.parametrize("content", [b"", b"\n\r\n", b"\xef\xbb\xbf"])
def test_a_file_without_a_header_has_no_rows(tmp_path, content):
    assert rows(write(tmp_path / "t.csv", content), ("a",)) == []


@pytest.mark.parametrize("content", ['"id\n1\n', 'id,"a"b\n'])
def test_a_header_that_cannot_be_read_is_a_fault_of_the_file(tmp_path, content):
    with pytest.raises(DataError, match=r"t\.csv: the header cannot be read: "):
        rows(write(tmp_path / "t.csv", content))


def test_text_after_a_closing_quote_spoils_one_row(tmp_path):
    path = write(tmp_path / "t.csv", 'id,a\n1,"x"y\n2,z\n')

    assert rows(path) == [
        ("", f"unreadable row: text follows a closing quote; {UNQUOTE}"),
        ("2", None),
    ]


def test_a_line_without_end_is_one_bad_row_and_not_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 2**20)
    long = "x" * (3 * 2**20 + 5)
    csv_path = write(tmp_path / "t.csv", f"id,a\n1,{long}\n2,y\n")
    jsonl_path = write(tmp_path / "t.jsonl", f'{{"id": "{long}"}}\n{{"id": 2}}\n')

    expected = [("", "unreadable row: a line has more than 1 MiB"), ("2", None)]
    assert rows(csv_path)[-2:] == [("", expected[0][1]), ("2", None)]
    assert rows(jsonl_path) == expected


def test_a_cell_that_is_too_long_is_one_bad_row(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "LONGEST_CELL", 100)
    path = write(tmp_path / "t.csv", f"id,a\n1,{'x' * 101}\n2,y\n")

    assert rows(path) == [("", "unreadable row: field larger than field limit (100)"), ("2", None)]


def test_tabs_part_the_cells_of_a_tsv(tmp_path):
    assert rows(write(tmp_path / "t.tsv", "id\ta\n1\tx,y\n"), ("a",)) == [("1", "x,y", None)]


def test_utf16_is_refused_by_its_mark(tmp_path):
    path = write(tmp_path / "t.csv", "id,a\n1,x\n".encode("utf-16"))

    with pytest.raises(DataError, match="it begins like UTF-16; convert it to UTF-8"):
        rows(path)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-16", "encoding: in 'utf-16' a line feed is not one byte; convert the table"),
        ("utf-32-le", "a line feed is not one byte"),
        ("undefined", "encoding: 'undefined' is unknown"),
        ("latin-11", "encoding: 'latin-11' is unknown; set one such as utf-8 or latin-1"),
        ("hex", "encoding: 'hex' is unknown"),
    ],
)
def test_an_encoding_whose_lines_cannot_be_told_apart_is_refused(encoding, message):
    settings = {"kind": "table", "path": "t.csv", "key": "id", "encoding": encoding}

    with pytest.raises(ConfigError) as fault:
        plugins.make("sources", settings, "source.0")

    assert fault.value.faults[0].startswith("source.0.encoding: ")
    assert message.removeprefix("encoding: ") in fault.value.faults[0]


@pytest.mark.parametrize("delimiter", ['"', "\n", "\r", "\0"])
def test_what_cannot_part_cells_is_no_delimiter(delimiter):
    settings = {"kind": "table", "path": "t.csv", "key": "id", "delimiter": delimiter}

    with pytest.raises(ConfigError, match=r"^source\.0\.delimiter: .* cannot part cells; set one"):
        plugins.make("sources", settings, "source.0")


# JSON Lines ---------------------------------------------------------------------------------------


def test_jsonl_keeps_every_bad_line_as_a_row_with_a_reason(data):
    found = rows(data / "odd/table/broken.jsonl", ("caption", "score"))

    assert [(key, caption) for key, caption, _, _ in found] == [
        ("1", "ok"), ("", None), ("4", "dup"), ("5", None), ("", None), ("", None), ("", None),
    ]  # fmt: skip
    reasons = [reason for _, _, _, reason in found]
    assert reasons[1].startswith("not JSON: ")
    assert reasons[4] == "not text: half of a surrogate pair"
    assert reasons[5] == "not a JSON object: list"
    assert reasons[6].startswith("not JSON: Unterminated string")
    assert [reasons[i] for i in (0, 2, 3)] == [None, None, None]


def test_half_of_a_surrogate_pair_spoils_a_row_also_in_a_list(tmp_path):
    path = write(
        tmp_path / "t.jsonl", '{"id": 1, "a": ["\\ud800"]}\n{"id": 2, "a": ["\\ud83d\\ude00"]}'
    )

    assert rows(path, ("a",)) == [
        ("", None, "not text: half of a surrogate pair"),
        ("2", ["😀"], None),
    ]


def test_jsonl_nested_too_deeply_is_one_bad_row(tmp_path):
    path = write(tmp_path / "t.jsonl", '{"id": ' + "[" * 100_000 + "\n" + '{"id": 2}\n')

    first, second = rows(path)

    assert first[0] == "" and first[1].startswith("not JSON: ")
    assert second == ("2", None)


def test_jsonl_cells_keep_their_types(tmp_path):
    path = write(tmp_path / "t.jsonl", '{"id": 7, "a": [1, "x"], "b": null, "c": 1.5}\n')

    assert rows(path, ("a", "b", "c", "id")) == [("7", [1, "x"], None, 1.5, 7, None)]


def test_a_column_that_no_row_has_is_missing_but_some_rows_may_lack_it(tmp_path):
    path = write(tmp_path / "t.jsonl", '{"id": 1}\n{"id": 2, "a": "x"}\n')

    assert rows(path, ("a",)) == [("1", None, None), ("2", "x", None)]
    with pytest.raises(
        DataError, match=r"t\.jsonl: no row has the column 'b', 'c'; there are: id, a$"
    ):
        rows(path, ("a", "b", "c"))


def test_a_jsonl_key_column_that_no_row_has_is_missing(tmp_path):
    path = write(tmp_path / "t.jsonl", '{"name": 1}\n')

    with pytest.raises(DataError, match="no row has the column 'id'"):
        rows(path)


def test_a_byte_order_mark_is_dropped(tmp_path):
    path = write(tmp_path / "t.jsonl", b'\xef\xbb\xbf{"id": 1}\n{"id": 2}\n')

    assert rows(path) == [("1", None), ("2", None)]
    assert rows(path, start=offsets(path)[1]) == [("2", None)]


# Parquet ------------------------------------------------------------------------------------------


def parquet(path: Path, rows_per_group: int = 3, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)
    return path


def test_parquet_cells_may_be_bytes_and_lists_and_numbers(tmp_path):
    path = parquet(tmp_path / "t.parquet", id=[1, 2], image=[b"\0\xff", None], words=[["a"], []])

    assert rows(path, ("image", "words")) == [
        ("1", b"\0\xff", ["a"], None),
        ("2", None, [], None),
    ]


@pytest.mark.parametrize("start", range(11))
@pytest.mark.parametrize("size", [2, 100])
def test_parquet_is_read_from_any_row_across_row_groups(tmp_path, start, size):
    path = parquet(tmp_path / "t.parquet", id=list(range(10)))

    found = rows(path, start=start, size=size)

    assert [int(key) for key, _ in found] == list(range(start, 10))
    assert offsets(path) == list(range(10))


def test_parquet_rows_that_are_not_wanted_keep_the_others_numbers(tmp_path):
    path = parquet(tmp_path / "t.parquet", id=list(range(10)), a=[i % 3 for i in range(10)])

    assert offsets(path, where={"a": 1}) == [1, 4, 7]
    assert rows(path, start=4, where={"a": 1}) == [("4", None), ("7", None)]


@pytest.mark.parametrize("content", [b"", b"id,a\n1,2\n", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_what_is_no_parquet_is_refused(tmp_path, content):
    path = write(tmp_path / "t.parquet", content)

    with pytest.raises(DataError, match=r"t\.parquet: not readable as Parquet: "):
        rows(path)


def test_truncated_parquet_is_refused(tmp_path):
    path = parquet(tmp_path / "t.parquet", id=[f"{i:050d}" for i in range(1000)])
    path.write_bytes(path.read_bytes()[:-300])

    with pytest.raises(DataError, match="not readable as Parquet"):
        rows(path)


def test_parquet_lacking_a_column_is_refused(tmp_path):
    path = parquet(tmp_path / "t.parquet", id=[1])

    with pytest.raises(DataError, match="no column 'image'; there are: id"):
        rows(path, ("image",))


def test_the_stamp_of_parquet_changes_with_the_file_and_text_needs_none(tmp_path):
    path = parquet(tmp_path / "t.parquet", id=[1])
    table = Table(path=str(path), key="id")
    before = table.stamp(path)

    parquet(path, id=[1, 2, 3])

    assert table.stamp(path) != before
    assert table.stamp(write(tmp_path / "t.csv", "id\n")) == ""


# Files and rows -----------------------------------------------------------------------------------


def test_files_of_a_pattern_come_in_natural_order(tmp_path):
    names = [
        "part-10.csv",
        "part-9.csv",
        "part-1.csv",
        "part-01.csv",
        "part-²1.csv",
        "b/part-2.csv",
    ]
    for name in names:
        write(tmp_path / name, "id\n")

    found = Table(path=f"{tmp_path}/**/*.csv", key="id").files()

    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "b/part-2.csv", "part-01.csv", "part-1.csv", "part-9.csv", "part-10.csv", "part-²1.csv",
    ]  # fmt: skip


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    path = write(tmp_path / "t[1].csv", "id\n1\n")

    assert Table(path=str(path), key="id").files() == [path]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone.csv", "gone.csv: no such table; paths are relative to the working folder"),
        ("*.csv", "*.csv: no file matches; paths are relative to the working folder"),
        (".", ".: a folder, not a table; name its files, such as ./*.csv"),
        ("pipe", "pipe: no file but a device, a pipe or the like"),
        (
            "https://a.b/t.csv",
            "https://a.b/t.csv: a URL, not a path; download it first, for jobs have no network",
        ),
    ],
)
def test_a_table_that_is_not_there_is_one_clear_line(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(DataError) as fault:
        Table(path=path, key="id").files()

    assert fault.value.faults == (message,)


def test_a_file_of_unknown_format_needs_to_be_told(tmp_path):
    path = write(tmp_path / "t.txt", "id\n1\n")

    with pytest.raises(DataError, match=r"t\.txt: unknown format; set format: csv, jsonl or"):
        rows(path)
    assert rows(path, format="csv") == [("1", None)]


def test_cells_are_relative_to_the_tables_folder_or_to_the_root_that_is_set(tmp_path):
    path = tmp_path / "tables" / "t.csv"

    assert Table(path=str(path), key="id").root_of(path) == tmp_path / "tables"
    assert Table(path=str(path), key="id", root="raw").root_of(path) == Path("raw")


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ({"split": "train"}, "13"),
        ({"split": "train", "n": 3}, "3"),
        ({"n": "2"}, "2"),
        ({"good": True}, "12"),
        ({"good": False}, "3"),
        ({"split": "none"}, ""),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_where_keeps_the_rows_that_have_these_values(tmp_path, where, keys, ending):
    values = [("1", "train", 1, True), ("2", "test", 2, True), ("3", "train", 3, False)]
    names = ("id", "split", "n", "good")
    path = tmp_path / f"t.{ending}"
    if ending == "csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([names, *values])
    elif ending == "jsonl":
        write(path, "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in values))
    else:
        parquet(path, **dict(zip(names, zip(*values, strict=True), strict=True)))

    assert "".join(key for key, _ in rows(path, where=where)) == keys


@pytest.mark.parametrize(
    ("where", "column", "message"),
    [
        (
            {"lang": False},
            ["no", "no", "de"],
            "lang is read by YAML as False, and the column holds "
            "'no' (2), 'de' (1); .* in quotes, such as where: {lang: 'no'}",
        ),
        ({"lang": 8}, ["010"] * 3, "lang is read by YAML as 8, .* such as where: {lang: '010'}"),
        ({"lang": "no"}, [" no", "No", "NO"], "lang is the text 'no', and the column holds ' no'"),
        ({"lang": 1}, ["1.0"] * 3, "lang is read by YAML as 1, and the column holds '1.0' (3)"),
        ({"lang": "de", "id": 5}, ["de"] * 3, "id is read by YAML as 5, and the column holds '0'"),
        ({"lang": "de", "id": "2"}, ["de", "no", "no"], "no row has all of {'lang'"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_where_that_leaves_no_row_is_told_with_what_the_column_holds(
    tmp_path, ending, where, column, message
):
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        parquet(path, id=["0", "1", "2"], lang=column)
    else:
        write(path, "id,lang\n" + "".join(f"{i},{text}\n" for i, text in enumerate(column)))
    assert rows(path, where=where) == []

    (line,) = Table(path=str(path), key="id", where=where).why_no_rows()

    for part in message.split(" .* "):
        assert part in line
    assert line.startswith(f"{path}: where: ")


@pytest.mark.parametrize(
    ("where", "keys"),
    [({"n": 1}, "0"), ({"n": "1.0"}, "0"), ({"on": "true"}, "0"), ({"on": False}, "1"),
     ({"day": "2024-01-02"}, "1"), ({"code": "a"}, "0")],
)  # fmt: skip
def test_where_knows_the_types_of_parquet(tmp_path, where, keys):
    days = [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)]
    path = parquet(
        tmp_path / "t.parquet",
        id=[0, 1],
        n=[1.0, 2.5],
        on=[True, False],
        day=days,
        code=[b"a", b"b"],
    )

    assert "".join(key for key, _ in rows(path, where=where)) == keys


@pytest.mark.parametrize("encoding", ["utf-8-sig", "UTF8", "utf_8", "U8", "latin1", "cp1252"])
def test_an_encoding_has_many_names_and_a_mark_is_dropped(tmp_path, encoding):
    mark = b"" if encoding in ("latin1", "cp1252") else b"\xef\xbb\xbf"
    path = write(tmp_path / "t.csv", mark + "id,a\n1,é\n".encode(encoding.removesuffix("-sig")))

    assert rows(path, ("a",), encoding=encoding) == [("1", "é", None)]


@pytest.mark.parametrize(
    "encoding", ["utf-7", "shift_jis", "cp932", "gb18030", "ascii", "iso2022_jp"]
)
def test_bytes_that_an_encoding_does_not_have_spoil_one_row(tmp_path, encoding):
    path = write(tmp_path / "t.csv", b"id,a\n1,x\n2,\x81\xff+\xff\n3,z\n")

    found = rows(path, ("a",), encoding=encoding)

    assert [row[:2] for row in found] == [("1", "x"), ("", None), ("3", "z")]
    assert found[1][2].startswith("not ")


def test_an_empty_part_among_others_holds_no_rows(tmp_path):
    for name, content in {"1.csv": "id\na\n", "2.csv": "", "3.csv": "id\nb\n"}.items():
        write(tmp_path / name, content)
    table = Table(path=f"{tmp_path}/*.csv", key="id")

    assert [k for file in table.files() for cells in table.read(file, ()) for k in cells.keys] == [
        "a", "b",
    ]  # fmt: skip


def test_names_in_a_message_are_shown_without_control_characters_and_not_all(tmp_path):
    names = ["\x1b[31mred", " id", *(f"c{i}" for i in range(100))]
    path = write(tmp_path / "t.csv", ",".join(names) + "\n")

    with pytest.raises(DataError) as fault:
        rows(path)

    (line,) = fault.value.faults
    assert line.isprintable()
    assert "there are: '\\x1b[31mred', ' id', c0, " in line
    assert line.endswith("c37 and 62 more")


def test_a_row_that_cannot_be_parsed_stays_though_nobody_knows_whether_it_is_wanted(tmp_path):
    path = write(tmp_path / "t.csv", "id,split\n1,train\n2\n3,test\n")

    assert rows(path, where={"split": "train"}) == [
        ("1", None),
        ("", "ragged row: 1 cells, the header has 2"),
    ]


def test_batches_have_as_many_rows_as_are_asked_for(tmp_path):
    path = write(tmp_path / "t.csv", "id\n" + "".join(f"{i}\n" for i in range(10)))

    sizes = [len(cells.keys) for cells in Table(path=str(path), key="id").read(path, (), rows=4)]

    assert sizes == [4, 4, 2]


UNQUOTE = "set quote: none, if the table does not quote"
CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


def csv_of(table: list[tuple[str, str]], line_end: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=line_end)
    writer.writerow(["id", "a"])
    writer.writerows(table)
    return file.getvalue().encode()


def jsonl_of(table: list[tuple[str, str]], line_end: str) -> bytes:
    texts = [json.dumps({"id": key, "a": cell}, ensure_ascii=False) for key, cell in table]
    return "".join(text + line_end for text in texts).encode()


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@settings(max_examples=60, deadline=None)
@given(
    table=st.lists(st.tuples(CELL, CELL), max_size=8),
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    junk=st.lists(
        st.tuples(st.integers(0, 8), st.binary(max_size=8).filter(lambda b: b"\r" not in b)),
        max_size=2,
    ),
)
def test_reading_from_any_offset_gives_the_rows_that_reading_from_the_start_gives(
    tmp_path_factory, ending, table, line_end, mark, junk
):
    content = (csv_of if ending == "csv" else jsonl_of)(table, line_end)
    parts = content.split(b"\n")
    for place, text in junk:
        parts.insert(min(place + 1, len(parts)), text)
    path = tmp_path_factory.getbasetemp() / f"any-offset.{ending}"
    path.write_bytes(mark + b"\n".join(parts))
    source = Table(path=str(path), key="id")
    try:
        whole = joined(source.read(path, ("a",)))
    except DataError:
        return

    for i, offset in enumerate(whole.offsets):
        tail = joined(source.read(path, ("a",), start=offset, rows=3))
        assert tail == Cells(
            whole.keys[i:],
            {"a": whole.columns["a"][i:]},
            whole.reasons[i:],
            whole.offsets[i:],
        )


@settings(max_examples=60, deadline=None)
@given(table=st.lists(st.tuples(CELL.filter(bool), CELL), min_size=1, max_size=8))
def test_what_pythons_csv_writes_is_read_back(tmp_path_factory, table):
    path = tmp_path_factory.getbasetemp() / "back.csv"
    path.write_bytes(csv_of(table, "\r\n"))

    assert rows(path, ("a",), quote='"') == [(key, cell, None) for key, cell in table]


def joined(batches: Any) -> Cells:
    found = Cells([], {"a": []}, [], [])
    for cells in batches:
        found.keys.extend(cells.keys)
        found.columns["a"].extend(cells.columns["a"])
        found.reasons.extend(cells.reasons)
        found.offsets.extend(cells.offsets)
    return found


def test_texts_that_mean_no_value_are_known_in_the_forms_that_labels_have(tmp_path):
    lines = [json.dumps({"id": i, "a": a}) for i, a in enumerate([" NA ", "NA", -1.0, -1, "x"])]
    path = write(tmp_path / "t.jsonl", "\n".join(lines))

    (cells,) = Table(path=str(path), key="id", na=["NA", "-1"]).read(path, ("a",))

    assert cells.columns["a"] == [None, None, None, None, "x"]
