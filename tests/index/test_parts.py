import shutil

import pipeline
import pytest

from sampan.errors import StorageError
from sampan.index.columns import column
from sampan.index.parts import ROWS_PER_GROUP, Index, IndexFolder, IndexPart


@pytest.fixture
def config(tmp_path):
    return pipeline.finished_texts(tmp_path)


@pytest.fixture
def index(config):
    return Index(IndexFolder(pipeline.results_of(config) / "texts" / "index"))


def texts(index, name, rows=None):
    return [text for _, some in column(index, name, rows) for text in some]


def test_columns_hold_all_rows_in_order(index):
    assert index.rows == 150
    assert texts(index, "key") == [f"s{i:04d}" for i in range(150)]
    assert texts(index, "label") == [pipeline.WORDS[i % 10] for i in range(150)]
    assert texts(index, "split") == [None] * 150


def test_rows_are_numbered_as_in_the_dataset(index):
    part = IndexPart(index.folder.part(1))

    found = part.read(["key", "text"], range(70, 72))

    assert (part.first, part.rows) == (64, 64)
    assert found == {"key": ["s0070", "s0071"], "text": ["one 70", "deux 71"]}


def test_rows_are_found_across_row_groups(tmp_path):
    rows = 2 * ROWS_PER_GROUP + 100
    config = pipeline.texts(tmp_path, rows=rows)
    config["datasets"]["texts"] |= {"capacity": 32768, "rows_per_job": 32768}
    pipeline.run(config, ["scan", "index"])
    index = Index(IndexFolder(tmp_path / "results/texts/index"))
    (part,) = index.parts()

    edge = range(ROWS_PER_GROUP - 2, ROWS_PER_GROUP + 2)
    assert part.read(["key"], edge)["key"] == [f"s{i:04d}" for i in edge]
    batches = [batch["key"] for batch in part.batches(["key"])]
    assert [len(batch) for batch in batches] == [ROWS_PER_GROUP, ROWS_PER_GROUP, 100]
    assert [key for batch in batches for key in batch] == [f"s{i:04d}" for i in range(rows)]


def test_a_partition_beyond_the_data_is_empty(index):
    part = IndexPart(index.folder.part(3))

    assert part.rows == 0
    assert part.read(["key"]) == {"key": []}
    assert list(part.batches(["key"])) == []


def test_rows_that_were_added_since_the_commit_are_not_seen(config, index):
    pipeline.write_table(pipeline.results_of(config).parent / "texts.csv", range(180))
    jobs = [words for words in pipeline.commands(config, ["scan", "index"]) if words[0] != "commit"]
    for words in jobs:
        assert pipeline.main(words) == 0

    assert IndexPart(index.folder.part(2)).rows == 52
    assert texts(index, "key") == [f"s{i:04d}" for i in range(150)]
    assert [batch["key"][-1] for part in index.parts() for batch in part.batches(["key"])] == [
        "s0063",
        "s0127",
        "s0149",
    ]


def test_a_part_with_fewer_rows_than_committed_is_damaged(index):
    shutil.copy(index.folder.part(3), index.folder.part(2))

    with pytest.raises(StorageError, match="holds 0 rows; 22 are committed"):
        texts(index, "key")


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_damaged_part_is_a_storage_error(size, index):
    path = index.folder.part(0)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(StorageError, match=r"part-00000\.parquet: cannot be read"):
        texts(index, "key")


def test_a_missing_part_is_a_storage_error(index):
    index.folder.part(0).unlink()

    with pytest.raises(StorageError, match=r"part-00000\.parquet: cannot be read"):
        texts(index, "key")
