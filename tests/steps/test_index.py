import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from configs import small

from sampan.compute import Grant
from sampan.errors import DataError, StorageError
from sampan.index import parts as store
from sampan.index.parts import IndexFolder, IndexPart
from sampan.plan import Jobs, Plan
from sampan.steps.index import cell_line, index_part
from sampan.steps.scan import scan
from sampan.storage.durable import read_json
from sampan.store.identity import keys_digest

Row = dict[str, Any]


def jsonl(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def samples(count: int) -> list[Row]:
    return [
        {"id": i, "image": f"{i}.png", "caption": f"text {i}", "label": i % 3} for i in range(count)
    ]


def indexed(folder: Path, *paths: Path, **settings: Any) -> IndexFolder:
    """Scan and index all partitions."""
    sources = [{"kind": "table", "path": str(path), "key": "id"} for path in paths]
    for source in sources:
        source |= settings.pop("source", {})
    changes = {f"datasets.d.{name}": value for name, value in settings.items()}
    plan = Plan.parse(small({"datasets.d.source": sources} | changes))
    index = IndexFolder(folder / "results/d/index")
    grant = Grant(threads=1, memory_mb=2048)
    results = folder / "results"
    scan(Jobs(plan).scan("d"), index, grant, renumber=True, results=results, patience_seconds=0)
    for part in range(len(plan.parts("d"))):
        index_part(Jobs(plan).index("d"), index, part, patience_seconds=0)
    return index


def table_of(index: IndexFolder, part: int = 0) -> dict[str, list[Any]]:
    found = IndexPart(index.part(part))
    return found.read(found.columns)


def receipts(index: IndexFolder) -> dict[str, Any]:
    folder = index.path / "receipts"
    return {str(path.relative_to(folder)): read_json(path) for path in folder.rglob("*.json")}


def test_a_partition_lists_its_samples_in_order(tmp_path):
    index = indexed(tmp_path, jsonl(tmp_path / "t.jsonl", samples(100)))

    part = IndexPart(index.part(1))

    assert (part.first, part.rows) == (64, 36)
    assert part.roots == [tmp_path]
    assert part.read(["key", "image", "caption", "label", "reason"], range(64, 66)) == {
        "key": ["64", "65"],
        "image": ["64.png", "65.png"],
        "caption": ["text 64", "text 65"],
        "label": ["1", "2"],
        "reason": [None, None],
    }


def test_a_partition_beyond_the_data_is_an_empty_table_with_receipts(tmp_path):
    index = indexed(tmp_path, jsonl(tmp_path / "t.jsonl", samples(10)))

    assert table_of(index, 3) == {
        name: [] for name in ("key", "root", "reason", "label", "image", "caption")
    }
    assert read_json(index.receipt("image", 3))["rows"] == 0
    assert read_json(index.receipt("columns", 3))["keys"] == keys_digest([])


def test_partitions_that_share_a_file_of_the_scan_list_their_own_samples(tmp_path):
    table = jsonl(tmp_path / "t.jsonl", samples(2389))
    sources = [{"kind": "table", "path": str(table), "key": "id"}]
    changes = {"datasets.d.source": sources, "datasets.d.rows_per_job": 8}
    plan = Plan.parse(small(changes | {"datasets.d.capacity": 2400}))
    index, results = IndexFolder(tmp_path / "results/d/index"), tmp_path / "results"
    grant = Grant(threads=1, memory_mb=2048)

    scan(Jobs(plan).scan("d"), index, grant, renumber=False, results=results)
    for part in (0, 1, 298, 299):
        index_part(Jobs(plan).index("d"), index, part)

    made = {str(path.relative_to(results)) for path in index.path.glob("plan/*.json")}
    assert made == set(plan.plan_files("d"))
    assert len(made) == 150
    assert table_of(index, 0)["key"] == [str(row) for row in range(8)]
    assert table_of(index, 1)["key"] == [str(row) for row in range(8, 16)]
    assert table_of(index, 298)["key"] == [str(row) for row in range(2384, 2389)]
    assert table_of(index, 299)["key"] == []


def test_cells_become_what_a_modality_reads(tmp_path):
    cells = [
        ("text", "text"), (["a", "b"], "a, b"), ([1, 2], "[1, 2]"), ({"ä": 1}, '{"ä": 1}'),
        ([], ""), (3, "3"), (1.5, "1.5"), (True, "True"), (None, None), ("", ""),
        (float("nan"), None),
    ]  # fmt: skip
    rows = [samples(1)[0] | {"id": i, "caption": cell} for i, (cell, _) in enumerate(cells)]

    index = indexed(tmp_path, jsonl(tmp_path / "t.jsonl", rows))

    assert table_of(index)["caption"] == [text for _, text in cells]


def test_a_label_that_is_null_or_nan_or_empty_is_none(tmp_path):
    labels = ["cat", None, float("nan"), "", 7]
    rows = [samples(1)[0] | {"id": i, "label": label} for i, label in enumerate(labels)]

    index = indexed(tmp_path, jsonl(tmp_path / "t.jsonl", rows))

    assert table_of(index)["label"] == ["cat", None, None, None, "7"]


def test_bad_and_refused_rows_keep_their_place_with_a_reason(tmp_path):
    table = tmp_path / "t.jsonl"
    jsonl(table, samples(2))
    table.write_text(table.read_text() + "oops\n" + json.dumps(samples(1)[0]) + "\n")

    index = indexed(tmp_path, table, on_duplicate="quarantine")

    found = table_of(index)
    assert found["key"] == ["0", "1", "", "0"]
    assert found["reason"][2].startswith("not JSON: ")
    assert found["reason"][3] == "duplicate key: the same as row 0"


def test_rows_of_several_sources_remember_their_root_and_version(tmp_path):
    first = jsonl(tmp_path / "a/t.jsonl", samples(3))
    second = jsonl(tmp_path / "b/t.jsonl", [row | {"id": f"b{row['id']}"} for row in samples(2)])

    index = indexed(tmp_path, first, second)

    assert IndexPart(index.part(0)).roots == [tmp_path / "a", tmp_path / "b"]
    assert table_of(index)["root"] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("group", [5, 16, 64])
def test_row_groups_of_any_size_hold_the_same_rows(tmp_path, monkeypatch, group):
    monkeypatch.setattr("sampan.steps.index.ROWS_PER_GROUP", group)
    monkeypatch.setattr(store, "ROWS_PER_GROUP", group)
    table = jsonl(tmp_path / "t.jsonl", samples(100))

    part = IndexPart(indexed(tmp_path, table).part(0))

    assert part.read(["key"])["key"] == [str(i) for i in range(64)]
    assert part.read(["key"], range(13, 38))["key"] == [str(i) for i in range(13, 38)]


# What a change changes ----------------------------------------------------------------------------


def changed_receipts(folder: Path, before: list[Row], after: list[Row]) -> set[str]:
    table = jsonl(folder / "t.jsonl", before)
    old = receipts(indexed(folder, table))
    new = receipts(indexed(folder, jsonl(table, after)))
    return {name for name in old if old[name] != new[name]}


def test_a_changed_label_changes_just_the_receipt_of_the_columns(tmp_path):
    after = samples(100)
    after[70]["label"] = "other"

    changed = changed_receipts(tmp_path, samples(100), after)

    assert changed == {"columns/part-00001.json"}


def test_a_changed_cell_changes_just_its_modalitys_receipt(tmp_path):
    after = samples(100)
    after[3]["caption"] = "other"

    assert changed_receipts(tmp_path, samples(100), after) == {"caption/part-00000.json"}


def test_a_column_that_nobody_reads_changes_no_receipt(tmp_path):
    after = [row | {"note": "seen"} for row in samples(100)]

    assert changed_receipts(tmp_path, samples(100), after) == set()


def test_ten_more_rows_change_the_receipts_of_the_last_partition(tmp_path):
    changed = changed_receipts(tmp_path, samples(100), samples(110))

    assert changed == {f"{name}/part-00001.json" for name in ("columns", "image", "caption")}


def test_a_raised_version_changes_the_receipts_of_the_modalities(tmp_path):
    table = jsonl(tmp_path / "t.jsonl", samples(10))
    old = receipts(indexed(tmp_path, table))
    new = receipts(indexed(tmp_path, table, source={"version": 1}))

    assert {name for name in old if old[name] != new[name]} == {
        "image/part-00000.json",
        "caption/part-00000.json",
    }


def test_a_cells_line_is_another_for_another_version_cell_or_reason():
    lines = [
        cell_line(version, cell, reason)
        for version in (0, 1)
        for cell in (None, "", "=", "x", b"x", b"")
        for reason in (None, "torn")
    ]

    assert len(set(lines)) == len(lines)


# Bytes in cells -----------------------------------------------------------------------------------


def parquet(path: Path, images: list[Any]) -> Path:
    columns = {
        "id": [f"p{i}" for i in range(len(images))],
        "image": images,
        "caption": ["x"] * len(images),
        "label": ["y"] * len(images),
    }
    pq.write_table(pa.table(columns), path)
    return path


def test_bytes_are_kept_as_bytes_also_where_the_first_rows_have_none(tmp_path, monkeypatch):
    monkeypatch.setattr("sampan.steps.index.ROWS_PER_GROUP", 4)
    monkeypatch.setattr(store, "ROWS_PER_GROUP", 4)
    images = [None] * 6 + [b"\0\xff"]

    index = indexed(tmp_path, parquet(tmp_path / "t.parquet", images))

    assert table_of(index)["image"] == images


def test_bytes_and_paths_of_one_partition_are_both_kept(tmp_path):
    first = parquet(tmp_path / "t.parquet", [b"a", None])
    second = jsonl(tmp_path / "t.jsonl", samples(2))

    index = indexed(tmp_path, first, second)

    assert table_of(index)["image"] == [b"a", None, "0.png", "1.png"]
    assert IndexPart(index.part(0)).columns.count("image") == 1
    assert list(IndexPart(index.part(0)).column("image", range(1, 3))) == [None, "0.png"]


def test_bytes_are_taken_before_the_path_beside_them(tmp_path):
    images = [
        {"bytes": b"\xff", "path": "a.png"}, {"bytes": None, "path": "b.png"},
        {"bytes": b"", "path": "c.png"}, {"bytes": None, "path": None}, None,
    ]  # fmt: skip

    index = indexed(tmp_path, parquet(tmp_path / "t.parquet", images))

    assert table_of(index)["image"] == [b"\xff", "b.png", "c.png", None, None]


def test_bytes_inside_of_a_list_spoil_their_row(tmp_path):
    images = [[{"bytes": b"\xff"}], [], None]

    index = indexed(tmp_path, parquet(tmp_path / "t.parquet", images))

    found = table_of(index)
    assert found["image"] == [None, "", None]
    assert found["reason"][0].startswith("unusable image: bytes are inside of a list or object")
    assert found["reason"][1:] == [None, None]


def test_a_label_that_is_a_list_or_an_object_spoils_its_row(tmp_path):
    labels = ["cat", ["cat", "dog"], {"name": "cat"}, 7]
    rows = [samples(1)[0] | {"id": i, "label": label} for i, label in enumerate(labels)]

    index = indexed(tmp_path, jsonl(tmp_path / "t.jsonl", rows))

    found = table_of(index)
    assert found["label"] == ["cat", None, None, "7"]
    assert [why and why.partition(",")[0] for why in found["reason"]] == [
        None, "unusable label: it holds a list", "unusable label: it holds an object", None,
    ]  # fmt: skip


def test_labels_whose_type_is_a_list_are_refused_before_anything_is_read(tmp_path):
    path = tmp_path / "t.parquet"
    rows = [row | {"label": [row["label"]]} for row in samples(3)]
    pq.write_table(pa.Table.from_pylist(rows), path)

    with pytest.raises(
        DataError, match=r"^datasets\.d\.label: column 'label' of .* holds lists or"
    ):
        indexed(tmp_path, path)
    name = {"datasets.d.label": "meta.label"}
    nested = [row | {"meta": {"label": row["label"]}} for row in samples(3)]
    pq.write_table(pa.Table.from_pylist(nested), path)
    assert table_of(indexed(tmp_path, path, label=name["datasets.d.label"]))["label"] == [
        "0", "1", "2",
    ]  # fmt: skip


def test_dots_lead_into_objects_of_json(tmp_path):
    rows = [row | {"meta": {"label": row["label"], "of": {"caption": "c"}}} for row in samples(3)]
    rows[1]["meta"] = None

    index = indexed(
        tmp_path,
        jsonl(tmp_path / "t.jsonl", rows),
        label="meta.label",
        **{"modalities.caption.column": "meta.of.caption"},
    )

    assert table_of(index)["label"] == ["0", None, "2"]
    assert table_of(index)["caption"] == ["c", None, "c"]


def test_texts_that_mean_that_there_is_no_value_are_none_but_in_keys(tmp_path):
    rows = [
        samples(1)[0] | {"id": "NA", "label": "NA", "caption": "nan"},
        samples(1)[0] | {"id": 1, "label": -999, "caption": "NA?"},
    ]
    table = jsonl(tmp_path / "t.jsonl", rows)

    kept = table_of(indexed(tmp_path / "a", table))
    dropped = table_of(indexed(tmp_path / "b", table, source={"na": ["NA", "nan", "-999"]}))

    assert [kept[name] for name in ("label", "caption")] == [["NA", "-999"], ["nan", "NA?"]]
    assert [dropped[name] for name in ("label", "caption")] == [[None, None], [None, "NA?"]]
    assert dropped["key"] == ["NA", "1"]


# Memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [100, 5])
def test_rows_are_kept_together_by_their_bytes(tmp_path, monkeypatch, row):
    monkeypatch.setattr("sampan.steps.index.GROUP_BYTES", 1_000)
    table = jsonl(tmp_path / "t.jsonl", [one | {"caption": "x" * row} for one in samples(64)])
    monkeypatch.setattr("sampan.sources.table.BATCH_BYTES", 500)

    part = IndexPart(indexed(tmp_path, table).part(0))

    sizes = [len(group) for group in part.groups()]
    assert sum(sizes) == 64
    assert max(sizes) < 1_000 / row + 10
    assert part.read(["key"], range(3, 61))["key"] == [str(i) for i in range(3, 61)]
    column = part.column("key", range(3, 61))
    assert [column[i] for i in (57, 0, 30)] == ["60", "3", "33"]
    assert list(column) == [str(i) for i in range(3, 61)]


# Trouble ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [samples(99), [{**samples(1)[0], "id": "new"}, *samples(99)]])
def test_a_table_that_changed_after_the_scan_is_refused_and_the_old_part_stays(tmp_path, rows):
    table = jsonl(tmp_path / "t.jsonl", samples(100))
    index = indexed(tmp_path, table)
    before = [index.part(part).read_bytes() for part in (0, 1)]
    plan = Plan.parse(small({"datasets.d.source.0.path": str(table)}))
    jsonl(table, rows)

    with pytest.raises(DataError, match=r"no longer those that the scan found; .* run make update"):
        for part in (0, 1):
            index_part(Jobs(plan).index("d"), index, part, patience_seconds=0)

    assert [index.part(part).read_bytes() for part in (0, 1)] == before
    assert not list(index.path.glob(".*partial"))


def test_a_table_that_is_gone_after_the_scan_is_an_error_line(tmp_path):
    table = jsonl(tmp_path / "t.jsonl", samples(10))
    index = indexed(tmp_path, table)
    table.unlink()
    plan = Plan.parse(small({"datasets.d.source.0.path": str(table)}))

    with pytest.raises(StorageError, match=r"t\.jsonl.*No such file|No such file"):
        index_part(Jobs(plan).index("d"), index, 0, patience_seconds=0)


def test_labels_groups_and_splits_are_kept_in_one_form_and_what_was_folded_is_noted(
    tmp_path, caplog
):
    labels = ["café", "cafe\u0301", " café ", "1", 1, 1.0, "01", None, " ", float("nan")]
    rows = [
        {**row, "label": label, "speaker": f" p{i}\n", "part": "train\u00a0"}
        for i, (row, label) in enumerate(zip(samples(10), labels, strict=True))
    ]
    with caplog.at_level("INFO"):
        index = indexed(
            tmp_path, jsonl(tmp_path / "t.jsonl", rows), group="speaker", split={"column": "part"}
        )

    found = IndexPart(index.part(0)).read(["label", "group", "split"])
    assert found["label"] == ["café", "café", "café", "1", "1", "1", "01", None, None, None]
    assert found["group"] == [f"p{i}" for i in range(10)]
    assert set(found["split"]) == {"train"}
    folded = receipts(index)["columns/part-00000.json"]["folded"]
    assert folded["label"] == {
        "rows": 4,
        "examples": [["cafe\u0301", "café"], [" café ", "café"], ["1.0", "1"], [" ", None]],
    }
    assert {name: folded[name]["rows"] for name in folded} == {"label": 4, "group": 10, "split": 10}
    assert "the label of 4 rows is kept in the one form of labels: 'cafe\\u0301' as" in caplog.text


def test_labels_that_are_in_their_form_leave_no_note(tmp_path):
    index = indexed(tmp_path, jsonl(tmp_path / "t.jsonl", samples(10)))

    assert "folded" not in receipts(index)["columns/part-00000.json"]


def test_folders_that_links_may_lead_to_stand_beside_the_root(tmp_path):
    path = jsonl(tmp_path / "t.jsonl", samples(3))

    plain = indexed(tmp_path / "a", path)
    allowed = indexed(tmp_path / "b", path, source={"allow": ["/tier"]})

    assert IndexPart(plain.part(0)).allow == [[]]
    assert IndexPart(allowed.part(0)).allow == [["/tier"]]
    assert "allow" not in str(read_json(plain.plan(0, 4)))
    assert receipts(plain) == receipts(allowed)
