import csv
import json

import pytest
from pipeline import finished_texts, text_of

from sampan.cli import main
from sampan.operations.estimate.input import source_bytes
from sampan.plan import Jobs, Plan


def test_of_values_the_cells_themselves_are_the_input(tmp_path):
    plan = Plan.parse(finished_texts(tmp_path))
    entry = plan.config.datasets["texts"].modalities["text"]

    found = source_bytes(plan.results, "texts", "text", entry)

    sizes = [len(text_of(row).encode()) for row in range(64)]
    assert found == pytest.approx(sum(sizes) / len(sizes))


def test_of_paths_the_files_are_the_input(tmp_path):
    config = files_config(tmp_path, sizes=[100, 200, 600])
    plan = Plan.parse(config)
    run_index(plan)

    found = source_bytes(plan.results, "d", "text", plan.config.datasets["d"].modalities["text"])

    assert found == 300


def test_nothing_is_known_where_there_is_no_index_or_no_file(tmp_path):
    config = files_config(tmp_path, sizes=[100])
    plan = Plan.parse(config)
    entry = plan.config.datasets["d"].modalities["text"]

    before = source_bytes(plan.results, "d", "text", entry)
    run_index(plan)
    (tmp_path / "0.txt").unlink()
    after = source_bytes(plan.results, "d", "text", entry)

    assert (before, after) == (None, None)


def files_config(folder, sizes):
    with (folder / "d.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "file"])
        for number, size in enumerate(sizes):
            (folder / f"{number}.txt").write_bytes(b"a" * size)
            table.writerow([number, f"{number}.txt"])
    return {
        "results": str(folder / "results"),
        "datasets": {
            "d": {
                "source": [{"kind": "table", "path": str(folder / "d.csv"), "key": "id"}],
                "capacity": 64,
                "rows_per_job": 64,
                "modalities": {"text": {"kind": "text", "column": "file", "cell": "path"}},
            }
        },
    }


def run_index(plan):
    results = ["--results", str(plan.results)]
    assert main(["scan", "--spec", json.dumps(Jobs(plan).scan("d").to_json()), *results]) == 0
    spec = ["--spec", json.dumps(Jobs(plan).index("d").to_json()), "--part", "0"]
    assert main(["index", *spec, *results]) == 0


def test_a_file_that_a_run_would_not_read_is_not_looked_at(tmp_path):
    config = files_config(tmp_path, sizes=[100, 200])
    (tmp_path / "1.txt").unlink()
    (tmp_path / "1.txt").symlink_to("/etc/passwd")
    plan = Plan.parse(config)
    run_index(plan)

    found = source_bytes(plan.results, "d", "text", plan.config.datasets["d"].modalities["text"])

    assert found == 100
