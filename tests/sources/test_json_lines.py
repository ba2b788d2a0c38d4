import json
from pathlib import Path
from typing import Any

import pytest

from sampan.errors import DataError
from sampan.sources.table import Table


def rows(path: Path, content: str, *columns: str, **given: Any) -> list[tuple[Any, ...]]:
    """(key, cells …, reason before the colon) of every row."""
    path.write_text(content, newline="")
    source = Table(path=str(path), **({"key": "id"} | given))
    return [
        (*found, reason and reason.partition(": ")[0])
        for cells in source.read(path, columns)
        for *found, reason in zip(cells.keys, *cells.columns.values(), cells.reasons, strict=True)
    ]


@pytest.mark.parametrize(
    "content",
    ['[{"id": 1}, {"id": 2}]', '[\n {"id": 1},\n {"id": 2}\n]\n', '[{"id": 1},\n{"id": 2}]'],
)
def test_a_json_array_is_named_with_what_would_help(tmp_path, content):
    with pytest.raises(
        DataError, match=r"t\.json: a JSON array, not JSON Lines .*: jq -c '\.\[\]' "
    ):
        rows(tmp_path / "t.json", content, format="jsonl")


def test_objects_over_several_lines_are_named_with_what_would_help(tmp_path):
    content = json.dumps({"id": 1}, indent=1) + "\n" + json.dumps({"id": 2}, indent=1)

    with pytest.raises(DataError, match=r"JSON objects over several lines, .*: jq -c "):
        rows(tmp_path / "t.jsonl", content)


def test_a_list_among_objects_is_one_bad_row(tmp_path):
    assert rows(tmp_path / "t.jsonl", '[1, 2]\n{"id": 1}\n[{"id": 2}]\n') == [
        ("", "not a JSON object"), ("1", None), ("", "not a JSON object"),
    ]  # fmt: skip


def test_objects_that_carriage_returns_part_are_told(tmp_path):
    for content in ('{"id": 1}\r{"id": 2}\r', '{"id": 0}\n{"id": 1}\r{"id": 2}\n'):
        with pytest.raises(DataError, match="rows end with carriage returns alone, as on old Macs"):
            rows(tmp_path / "t.jsonl", content)


def test_dots_lead_into_objects_and_names_with_dots_come_first(tmp_path):
    content = (
        '{"id": 1, "meta": {"lang": "de", "of.by": {"x": 1}}}\n'
        '{"id": 2, "meta.lang": "no", "meta": {"lang": "de"}}\n'
        '{"id": 3, "meta": ["lang"]}\n'
    )
    path = tmp_path / "t.jsonl"

    assert rows(path, content, "meta.lang", "meta.of.by.x") == [
        ("1", "de", 1, None), ("2", "no", None, None), ("3", None, None, None),
    ]  # fmt: skip
    assert rows(path, content, where={"meta.lang": "no"}) == [("2", None)]
    with pytest.raises(DataError, match=r"no row has the column 'meta\.x'; there are: id, meta\.l"):
        rows(path, content, "meta.x")


@pytest.mark.parametrize("depth", [90, 200, 900, 990, 100_000])
def test_a_cell_that_is_nested_too_deeply_is_one_bad_row_and_no_crash(tmp_path, depth):
    content = '{"id": 1, "a": ' + "[" * depth + "]" * depth + '}\n{"id": 2, "a": 3}\n'

    first, second = rows(tmp_path / "t.jsonl", content, "a")

    assert (first[-1] is None) == (depth < 100)
    assert second == ("2", 3, None)


def test_keys_that_are_lists_or_objects_are_bad_rows(tmp_path):
    content = '{"id": ["a"]}\n{"id": {"b": 1}}\n{"id": null}\n{"id": NaN}\n{"id": 7.0}\n'

    assert rows(tmp_path / "t.jsonl", content) == [
        ("", "unusable key"), ("", "unusable key"), ("", None), ("", None), ("7.0", None),
    ]  # fmt: skip
