import pytest

from sampan.index.row_hashes import HashWriter, RowHashes
from sampan.plugins import Cells
from sampan.store.identity import keys_digest


def written(path, keys, label="x", reason=None):
    with HashWriter(path) as writer:
        for key in keys:
            writer.write(Cells([key], {"label": [label]}, [reason], [0]))
    return path, len(keys)


@pytest.mark.parametrize(("first", "stop"), [(0, 0), (0, 7), (2, 5), (3, 3), (4, 7), (7, 7)])
def test_keys_of_any_rows_are_those_of_the_files_one_after_another(tmp_path, first, stop):
    files = [("a", ["k0", "k1", "k2"]), ("b", []), ("c", ["k3"]), ("d", ["k4", "k5", "k6"])]
    hashes = RowHashes([written(tmp_path / name, keys) for name, keys in files])

    assert hashes.rows == 7
    assert hashes.keys_digest(first, stop) == keys_digest(f"k{i}" for i in range(first, stop))


def test_the_digest_of_cells_changes_with_any_cell_or_reason_and_the_keys_does_not(tmp_path):
    tables = [
        RowHashes([written(tmp_path / "1", ["a", "b"])]),
        RowHashes([written(tmp_path / "2", ["a", "b"], label="y")]),
        RowHashes([written(tmp_path / "3", ["a", "b"], reason="torn")]),
    ]

    assert len({table.cells_digest(0, 2) for table in tables}) == 3
    assert len({table.keys_digest(0, 2) for table in tables}) == 1
