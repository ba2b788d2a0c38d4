"""Nested columns, and values that Python cannot hold."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sampan.errors import DataError
from sampan.sources import parquet
from sampan.sources.table import Table

KEYS = ["k0", "k1", "k2"]


def table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table({"id": KEYS} | columns), path)
    return path


def rows(path: Path, *columns: str, **given: Any) -> list[tuple[Any, ...]]:
    """(key, cells …, reason before the colon) of every row."""
    source = Table(path=str(path), **({"key": "id"} | given))
    return [
        (*found, reason and reason.partition(": ")[0])
        for cells in source.read(path, columns)
        for *found, reason in zip(cells.keys, *cells.columns.values(), cells.reasons, strict=True)
    ]


def raw(values: list[int], kind: Any) -> pa.Array:
    """An array whose values are these numbers, whether they make sense or not."""
    storage = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array(values, storage).view(kind)


def test_dots_lead_into_structs(tmp_path):
    meta = [{"lang": "de", "of": {"by": "a"}}, {"lang": "no", "of": None}, None]
    path = table(tmp_path / "t.parquet", meta=meta)

    assert rows(path, "meta.lang", "meta.of.by") == [
        ("k0", "de", "a", None), ("k1", "no", None, None), ("k2", None, None, None),
    ]  # fmt: skip
    assert rows(path, where={"meta.lang": "no"}) == [("k1", None)]
    assert [key for key, _ in rows(path, key="meta.lang")] == ["de", "no", ""]


def test_a_column_whose_own_name_has_a_dot_comes_before_a_field(tmp_path):
    columns = {"a.b": ["own"] * 3, "a": [{"b": "field", "c.d": "x"}] * 3}
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": KEYS} | columns), path)

    assert rows(path, "a.b", "a.c.d", "a")[0] == (
        "k0", "own", "x", {"b": "field", "c.d": "x"}, None,
    )  # fmt: skip


def test_a_field_that_is_not_there_is_told_with_those_that_are(tmp_path):
    path = table(tmp_path / "t.parquet", meta=[{"lang": "de"}] * 3)

    with pytest.raises(DataError, match=r"no column 'meta\.id'; there are: id, meta, meta\.lang$"):
        rows(path, "meta.id")


@pytest.mark.parametrize("values", [["a", None, "b"], [b"\xff", b"b", b"c"]])
def test_a_text_that_is_not_utf8_costs_one_row(tmp_path, values):
    words = pa.array([b"one", b"\xff", b"three"]).view(pa.string())
    path = table(tmp_path / "t.parquet", words=words, other=values)

    assert rows(path, "words", "other") == [
        ("k0", "one", values[0], None),
        ("k1", None, values[1], "not UTF-8"),
        ("k2", "three", values[2], None),
    ]
    assert rows(path, where={"words": "one"}) == [("k0", None), ("k1", "not UTF-8")]
    assert [key for key, _ in rows(path, key="words")] == ["one", "", "three"]


def test_which_rows_are_kept_does_not_depend_on_the_columns_that_are_read(tmp_path):
    words = pa.array([b"one", b"\xff", b"\xff"]).view(pa.string())
    path = table(tmp_path / "t.parquet", words=words, fold=["a", "b", "a"])

    assert [key for key, _ in rows(path, where={"fold": "a"})] == ["k0", "k2"]
    assert rows(path, "words", where={"fold": "a"}) == [
        ("k0", "one", None), ("k2", None, "not UTF-8"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "good"),
    [
        (raw([0, 2**31 - 1, 1], pa.date32()), datetime.date(1970, 1, 1)),
        (raw([0, 2**62, 1], pa.timestamp("us")), datetime.datetime(1970, 1, 1)),
        (raw([0, 2**62, 1], pa.timestamp("ms", "UTC")), None),
        (raw([0, 2**62, 1], pa.duration("ms")), datetime.timedelta(0)),
        (raw([0, 2**62, 1], pa.time64("us")), datetime.time(0)),
        (pa.array([b"a", b"\xff", b"c"]).view(pa.string()).dictionary_encode(), "a"),
        (
            pa.StructArray.from_arrays([pa.array([b"a", b"\xff", b"c"]).view(pa.string())], ["x"]),
            {"x": "a"},
        ),
    ],
)
def test_a_value_that_python_cannot_hold_costs_one_row(tmp_path, column, good):
    path = table(tmp_path / "t.parquet", when=column)

    found = rows(path, "when")

    assert [(key, reason is None) for key, _, reason in found] == [
        ("k0", True), ("k1", False), ("k2", True),
    ]  # fmt: skip
    assert found[0][1] == good or good is None


@pytest.mark.parametrize(
    ("column", "keys"),
    [
        (pa.array([1, 2**64 - 1, None], pa.uint64()), ["1", "18446744073709551615", ""]),
        (pa.array([1.5, float("nan"), 2], pa.float16()), ["1.5", "", "2.0"]),
        (
            pa.array(
                [decimal.Decimal("1.50"), decimal.Decimal("1e30"), None], pa.decimal128(38, 2)
            ),
            ["1.50", "1000000000000000000000000000000.00", ""],
        ),
        (raw([0, 1, 2], pa.date32()), ["1970-01-01", "1970-01-02", "1970-01-03"]),
        (
            raw([0, 1, 10**9], pa.timestamp("ns")),
            ["1970-01-01T00:00:00", "1970-01-01T00:00:00.000000001", "1970-01-01T00:00:01"],
        ),
        (
            raw([0, -1, 90_061_500_000], pa.duration("us")),
            ["P0DT0H0M0S", "-P0DT0H0M0.000001S", "P1DT1H1M1.500000S"],
        ),
        (pa.array([b"a", "ä".encode(), b"\xff"]), ["a", "ä", ""]),
        (pa.array(["a", "b", "c"]).dictionary_encode(), ["a", "b", "c"]),
        (pa.array(["a", "b", "c"], pa.large_string()), ["a", "b", "c"]),
        (pa.array([True, False, None]), ["True", "False", ""]),
        (pa.nulls(3), ["", "", ""]),
    ],
)
def test_keys_of_every_type_have_a_stated_text(tmp_path, column, keys):
    path = table(tmp_path / "t.parquet", name=column)

    assert [key for key, *_ in rows(path, key="name")] == keys


@pytest.mark.parametrize("use", ["key", "where"])
@pytest.mark.parametrize("values", [[[1], [2], []], [{"a": 1}] * 3])
def test_lists_and_structs_are_no_keys_and_no_conditions(tmp_path, values, use):
    path = table(tmp_path / "t.parquet", tags=values)
    given = {"key": "tags"} if use == "key" else {"where": {"tags": "a"}}

    with pytest.raises(DataError, match=r"^(key|where\.tags): column 'tags' of .* holds lists or"):
        rows(path, **given)


def test_long_cells_come_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_BYTES", 10_000)
    path = table(tmp_path / "t.parquet", image=[b"\0" * 9_000, b"\1" * 9_000, b"\1" * 9_000])

    batches = list(Table(path=str(path), key="id").read(path, ("image",)))

    assert [(cells.keys, cells.offsets) for cells in batches] == [
        (["k0"], [0]), (["k1"], [1]), (["k2"], [2]),
    ]  # fmt: skip


def test_a_dictionary_hides_no_long_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_BYTES", 2**20)
    path = tmp_path / "t.parquet"
    same = ["x" * 20_000] * 3_000
    pq.write_table(pa.table({"id": [f"k{i}" for i in range(3_000)], "words": same}), path)

    batches = list(Table(path=str(path), key="id").read(path, ("words",)))

    assert max(len(cells.keys) for cells in batches) <= 2**20 / 20_000
    assert sum(len(cells.keys) for cells in batches) == 3_000


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32()])
def test_floats_of_few_bits_are_the_numbers_that_were_written(tmp_path, kind):
    path = table(tmp_path / "t.parquet", score=pa.array([0.1, None, -2.0]).cast(kind))

    assert rows(path, "score") == [("k0", 0.1, None), ("k1", None, None), ("k2", -2.0, None)]
    assert rows(path, where={"score": "0.1"}) == [("k0", None)]
