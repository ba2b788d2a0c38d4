import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from configs import small

from sampan.cli import main
from sampan.compute import Grant
from sampan.errors import DataError, StorageError
from sampan.index.parts import IndexFolder
from sampan.plan import Jobs, Plan
from sampan.plan.jobs import ScanJob
from sampan.steps.scan import scan
from sampan.storage.durable import read_json, write_json
from sampan.store.identity import keys_digest

ONE = Grant(threads=1, memory_mb=2048)


def csv_table(path: Path, keys: Any, label: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{key},i/{key}.png,a text,{label}\n" for key in keys]
    path.write_text("id,image,caption,label\n" + "".join(lines))
    return path


def job_of(*paths: Path, where: dict[str, Any] | None = None, **settings: Any) -> ScanJob:
    sources = [{"kind": "table", "path": str(path), "key": "id"} for path in paths]
    if where:
        sources[0]["where"] = where
    changes = {f"datasets.d.{name}": value for name, value in settings.items()}
    return Jobs(Plan.parse(small({"datasets.d.source": sources} | changes))).scan("d")


def scanned(
    folder: Path, job: ScanJob, *, renumber: bool = False, grant: Grant = ONE
) -> list[dict[str, Any]]:
    """The plans of all partitions."""
    index = IndexFolder(folder / "results/d/index")
    scan(job, index, grant, renumber=renumber, results=folder / "results", patience_seconds=0)
    partitions = len(job.partitions)
    return [read_json(index.plan(n, partitions))[f"{n:05d}"] for n in range(partitions)]


def refusal(folder: Path, job: ScanJob) -> str:
    with pytest.raises(DataError) as fault:
        scanned(folder, job)
    assert len(fault.value.faults) == 1
    return fault.value.faults[0]


def files_below(folder: Path) -> set[str]:
    found = (folder / "results").rglob("*")
    return {str(path.relative_to(folder)) for path in found if path.is_file()}


# Partitions ---------------------------------------------------------------------------------------


def test_every_partition_of_the_capacity_has_a_plan(tmp_path):
    table = csv_table(tmp_path / "t.csv", range(150))

    plans = scanned(tmp_path, job_of(table))

    assert [(plan["first"], plan["rows"]) for plan in plans] == [
        (0, 64), (64, 64), (128, 22), (192, 0),
    ]  # fmt: skip
    assert plans[1]["keys"] == keys_digest(map(str, range(64, 128)))
    assert plans[3]["pieces"] == []


def test_a_plan_says_at_which_byte_its_rows_begin(tmp_path):
    table = csv_table(tmp_path / "t.csv", range(150))
    content = table.read_bytes()

    plans = scanned(tmp_path, job_of(table))

    (piece,) = plans[1]["pieces"]
    assert content[piece["offset"] :].startswith(b"64,i/64.png")
    assert (piece["skip"], piece["rows"]) == (0, 64)


def test_a_partition_may_span_files_and_sources(tmp_path):
    first = csv_table(tmp_path / "a/1.csv", range(10))
    csv_table(tmp_path / "a/2.csv", [])
    csv_table(tmp_path / "a/10.csv", range(10, 50))
    last = csv_table(tmp_path / "b.csv", range(50, 100))

    plans = scanned(tmp_path, job_of(tmp_path / "a/*.csv", last))

    assert [(Path(p["file"]).name, p["source"], p["rows"]) for p in plans[0]["pieces"]] == [
        ("1.csv", 0, 10), ("10.csv", 0, 40), ("b.csv", 1, 14),
    ]  # fmt: skip
    assert [(p["source"], p["rows"]) for p in plans[1]["pieces"]] == [(1, 36)]
    assert plans[1]["keys"] == keys_digest(map(str, range(64, 100)))
    assert first.exists()


def test_scanning_files_in_parallel_gives_the_plans_of_scanning_one_after_another(tmp_path):
    for i in range(5):
        csv_table(tmp_path / f"t-{i}.csv", range(i * 40, i * 40 + 40))
    job = job_of(tmp_path / "t-*.csv")

    serial = scanned(tmp_path, job)
    parallel = scanned(tmp_path, job, grant=Grant(threads=2, memory_mb=2048))

    assert parallel == serial


def test_faults_of_all_files_are_listed_at_once(tmp_path):
    for i in range(2):
        (tmp_path / f"t-{i}.csv").write_text("name\n1\n")
    job = job_of(tmp_path / "t-*.csv", tmp_path / "gone.csv", tmp_path / "away.csv")

    with pytest.raises(DataError) as fault:
        scanned(tmp_path, job)
    assert [line.split(": ")[0] for line in fault.value.faults] == [
        "datasets.d.source.1",
        "datasets.d.source.2",
    ]
    with pytest.raises(DataError) as fault:
        scanned(tmp_path, job_of(tmp_path / "t-*.csv"))
    assert sum("no column 'id'; there are: name" in line for line in fault.value.faults) == 2


def test_rows_that_where_leaves_out_are_not_counted(tmp_path):
    table = tmp_path / "t.csv"
    lines = [f"{i},x,y,{'odd' if i % 2 else 'even'}\n" for i in range(300)]
    table.write_text("id,image,caption,label\n" + "".join(lines))

    plans = scanned(tmp_path, job_of(table, where={"label": "odd"}))

    assert [plan["rows"] for plan in plans] == [64, 64, 22, 0]
    assert plans[1]["keys"] == keys_digest(str(2 * i + 1) for i in range(64, 128))
    assert table.read_bytes()[plans[1]["pieces"][0]["offset"] :].startswith(b"129,")


def test_more_samples_than_the_capacity_are_refused_with_what_to_set(tmp_path):
    table = csv_table(tmp_path / "t.csv", range(2300))

    found = refusal(tmp_path, job_of(table, capacity=2048, rows_per_job=1024))

    assert found == (
        "datasets.d: 2,300 samples exceed capacity: 2048; set capacity: 3072 (3 jobs of 1,024 rows)"
    )


def test_sources_without_samples_are_refused(tmp_path):
    table = csv_table(tmp_path / "t.csv", [])

    assert refusal(tmp_path, job_of(table)) == (
        f"datasets.d: the sources hold no samples: datasets.d.source.0: {table}: no rows; it is "
        "empty, or holds a header at most"
    )


def test_where_that_yaml_read_as_something_else_says_to_quote_it(tmp_path):
    table = csv_table(tmp_path / "t.csv", range(3), label="no")

    assert refusal(tmp_path, job_of(table, where={"label": False})).endswith(
        "where: label is read by YAML as False, and the column holds 'no' (3); without quotes YAML "
        "takes words such as no and numbers such as 010 for something else: write the value as the "
        "table has it, in quotes, such as where: {label: 'no'}"
    )


def test_a_source_without_rows_beside_others_is_a_line_in_the_log(tmp_path, caplog):
    table = csv_table(tmp_path / "t.csv", range(3))
    empty = tmp_path / "e.csv"
    empty.touch()

    scanned(tmp_path, job_of(table, empty))

    assert f"datasets.d.source.1: {empty}: no rows; it is empty, or" in caplog.text


@pytest.mark.parametrize(
    "changes", [{"source.0.version": 1}, {"source.0.root": "raw"}, {"source.0.encoding": "latin-1"}]
)
def test_a_source_that_is_to_be_read_otherwise_changes_the_plans_of_its_rows(tmp_path, changes):
    first = csv_table(tmp_path / "t.csv", range(64))
    second = csv_table(tmp_path / "u.csv", range(64, 70))
    before = scanned(tmp_path, job_of(first, second))

    after = scanned(tmp_path, job_of(first, second, **changes))

    assert [new == old for new, old in zip(after, before, strict=True)] == [False, True, True, True]


@pytest.mark.parametrize(
    "changes",
    [
        {"label": "caption"},
        {"group": "caption"},
        {"capacity": 512},
        {"rows_per_job": 128},
        {"on_duplicate": "trust"},
        {"source.0.version": 1},
        {"source.0.where": {"id": "s1"}},
        {"modalities.caption.column": "image"},
    ],
    ids=str,
)
def test_settings_that_decide_the_index_name_a_file(changes):
    default = {"on_duplicate": "error", "source.0.version": 0, "split": {"test": 0.3}}

    files = {
        Plan.parse(
            small({f"datasets.d.{name}": value for name, value in given.items()})
        ).columns_file("d")
        for given in ({}, default, changes)
    }

    assert len(files) == 2


def test_only_the_settings_that_were_scanned_last_have_a_file(tmp_path):
    table = csv_table(tmp_path / "t.csv", range(10))
    plain, other = job_of(table), job_of(table, label="caption")
    scanned(tmp_path, plain)
    scanned(tmp_path, other)

    (there,) = (tmp_path / "results/d/index").glob("columns@*")

    assert there == tmp_path / "results" / other.columns_file
    assert read_json(there)["columns"] == {"label": "caption"}


def test_a_partition_whose_plan_changed_loses_its_receipt_and_no_other_does(tmp_path):
    job = job_of(csv_table(tmp_path / "t.csv", range(100)))
    scanned(tmp_path, job)
    folder = IndexFolder(tmp_path / "results/d/index")
    for part in range(2):
        write_json(folder.receipt("columns", part), {})
        write_json(folder.receipt("image", part), {})
    csv_table(tmp_path / "t.csv", range(101))

    scanned(tmp_path, job)

    assert [folder.receipt("columns", part).exists() for part in range(2)] == [True, False]
    assert folder.receipt("image", 1).exists()


def test_what_was_listed_for_more_partitions_or_other_modalities_goes(tmp_path):
    table = csv_table(tmp_path / "t.csv", range(10))
    scanned(tmp_path, job_of(table))
    folder = IndexFolder(tmp_path / "results/d/index")
    for path in (folder.receipt("columns", 3), folder.receipt("sound", 0), folder.part(3)):
        write_json(path, {})

    scanned(tmp_path, job_of(table, capacity=64))

    assert [path.name for path in folder.path.rglob("part-*")] == ["part-00000.json"]


# Keys ---------------------------------------------------------------------------------------------


def test_keys_that_repeat_are_listed_the_first_ten_with_their_rows(tmp_path):
    table = csv_table(tmp_path / "t.csv", [*range(20), *range(13)])

    found = refusal(tmp_path, job_of(table))

    assert found == (
        "datasets.d: 13 keys repeat an earlier one, counting rows from 0: row 20 (as row 0), "
        "21 (as row 1), 22 (as row 2), 23 (as row 3), 24 (as row 4), 25 (as row 5), "
        "26 (as row 6), 27 (as row 7), 28 (as row 8), 29 (as row 9), …; make keys unique, or set "
        "on_duplicate: quarantine"
    )


def test_empty_keys_and_keys_that_repeat_are_both_listed(tmp_path):
    table = csv_table(tmp_path / "t.csv", ["a", "", "b", "a", ""])

    with pytest.raises(DataError) as fault:
        scanned(tmp_path, job_of(table))

    assert [line.split(";")[0] for line in fault.value.faults] == [
        "datasets.d: 1 keys repeat an earlier one, counting rows from 0: row 3 (as row 0)",
        "datasets.d: 2 keys are empty, counting rows from 0: row 1, 4",
    ]


def test_keys_may_be_quarantined(tmp_path):
    table = csv_table(tmp_path / "t.csv", [*range(70), "", "a", 3, "a", "a"])

    plans = scanned(tmp_path, job_of(table, on_duplicate="quarantine"))

    assert plans[0]["refused"] == {}
    assert plans[1]["refused"] == {
        "70": "empty key",
        "72": "duplicate key: the same as row 3",
        "73": "duplicate key: the same as row 71",
        "74": "duplicate key: the same as row 71",
    }


def test_keys_that_only_look_alike_are_two_samples_of_which_the_log_warns(tmp_path, caplog):
    table = csv_table(tmp_path / "t.csv", ["a", "a ", "caf\u00e9", "cafe\u0301"])

    plans = scanned(tmp_path, job_of(table))

    assert (plans[0]["rows"], plans[0]["refused"]) == (4, {})
    assert "keys are taken as they are" in caplog.text
    assert "such as 'a ', 'cafe\\u0301'" in caplog.text


def test_keys_that_are_trusted_are_not_looked_at(tmp_path):
    table = csv_table(tmp_path / "t.csv", ["a", "a", ""])

    plans = scanned(tmp_path, job_of(table, on_duplicate="trust"))

    assert plans[0]["rows"] == 3
    assert plans[0]["refused"] == {}


def test_rows_that_cannot_be_parsed_have_no_key_that_could_repeat(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("id,image,caption,label\n1\n2\n3,a,b,c\n")

    plans = scanned(tmp_path, job_of(table))

    assert plans[0]["rows"] == 3
    assert plans[0]["refused"] == {}


# The next scan ------------------------------------------------------------------------------------


def test_appended_rows_change_only_the_partitions_they_are_in(tmp_path):
    table = csv_table(tmp_path / "t.csv", range(70))
    before = scanned(tmp_path, job_of(table))

    after = scanned(tmp_path, job_of(csv_table(table, range(80))))

    assert [new == old for new, old in zip(after, before, strict=True)] == [True, False, True, True]
    assert (after[1]["first"], after[1]["rows"]) == (64, 16)


def test_a_new_source_at_the_end_of_the_list_is_accepted(tmp_path):
    table = csv_table(tmp_path / "t.csv", range(70))
    scanned(tmp_path, job_of(table))

    plans = scanned(tmp_path, job_of(table, csv_table(tmp_path / "u.csv", range(70, 75))))

    assert [plan["rows"] for plan in plans[:2]] == [64, 11]


@pytest.mark.parametrize("keys", [["new", *range(150)], range(100), [*range(149), "other"]])
def test_rows_that_moved_are_refused_and_the_line_that_is_given_accepts_them(
    tmp_path, keys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    table = csv_table(tmp_path / "t.csv", range(150))
    before = scanned(tmp_path, job_of(table))
    csv_table(table, keys)

    found = refusal(tmp_path, job_of(table))

    assert "are no longer the samples they were (150 rows then, " in found
    assert "put new data in a new entry at the end of `source`" in found
    words = shlex.split(found.partition("run: ")[2])
    assert words[:3] == ["sampan", "scan", "--renumber"]
    assert main(words[1:]) == 0
    after = scanned(tmp_path, job_of(table))
    assert after != before
    assert sum(plan["rows"] for plan in after) == len(list(keys))


def test_a_changed_label_changes_the_plan_of_just_its_partition(tmp_path):
    table = csv_table(tmp_path / "t.csv", range(150))
    before = scanned(tmp_path, job_of(table))

    table.write_text(table.read_text().replace("70,i/70.png,a text,x", "70,i/70.png,a text,z"))
    after = scanned(tmp_path, job_of(table))

    assert [new == old for new, old in zip(after, before, strict=True)] == [True, False, True, True]
    assert after[1] | {"content": None} == before[1] | {"content": None}


def test_of_parquet_only_the_keys_are_read_and_its_stamp_stands_for_the_rest(tmp_path):
    table = tmp_path / "t.parquet"
    cells = pa.array(["x"] * 100)
    columns = {"id": pa.array(range(100)), "image": cells, "caption": cells, "label": cells}
    pq.write_table(pa.table(columns), table)
    before = scanned(tmp_path, job_of(table))

    assert scanned(tmp_path, job_of(table)) == before
    pq.write_table(pa.table(columns | {"label": pa.array(["y"] * 100)}), table)
    after = scanned(tmp_path, job_of(table))

    assert after[0]["keys"] == before[0]["keys"] == keys_digest(map(str, range(64)))
    assert after[0]["pieces"][0]["stamp"] != before[0]["pieces"][0]["stamp"]


# Trouble ------------------------------------------------------------------------------------------


def test_a_table_that_cannot_be_read_for_a_while_is_waited_for(tmp_path, monkeypatch):
    table = csv_table(tmp_path / "t.csv", range(10))
    original, left = Path.open, [2]

    def failing(path, *args, **kwargs):
        if path == table and left[0]:
            left[0] -= 1
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", failing)
    monkeypatch.setattr("sampan.storage.durable.time.sleep", lambda _: None)
    folder = IndexFolder(tmp_path / "results/d/index")

    with pytest.raises(StorageError, match=r"t\.csv, read into .*: Permission denied; gave up"):
        scanned(tmp_path, job_of(table))
    results = tmp_path / "results"
    scan(job_of(table), folder, ONE, renumber=False, results=results, patience_seconds=60)

    assert read_json(folder.plan(0, 1))["00000"]["rows"] == 10


def test_a_refused_scan_leaves_the_last_one_as_it_was(tmp_path):
    table = csv_table(tmp_path / "t.csv", range(100))
    scanned(tmp_path, job_of(table))
    before = {name: (tmp_path / name).read_bytes() for name in files_below(tmp_path)}

    refusal(tmp_path, job_of(csv_table(table, range(1, 100))))

    assert {name: (tmp_path / name).read_bytes() for name in files_below(tmp_path)} == before


KILLED = """
import os, signal, sys
from sampan import cli
from sampan.steps import {module}
original = {module}.{name}
calls = 0
def killing(*args, **kwargs):
    global calls
    calls += 1
    if calls == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)
{module}.{name} = killing
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("module", "name", "at"),
    [("row_hashes", "content_hash", 100), ("scan", "duplicates", 1), ("scan", "write_json", 3)],
)
def test_a_scan_that_was_killed_leaves_nothing_that_looks_whole(tmp_path, module, name, at):
    table = csv_table(tmp_path / "t.csv", range(150))
    spec, results = json.dumps(job_of(table).to_json()), str(tmp_path / "results")
    code = KILLED.format(module=module, name=name, at=at)

    done = subprocess.run(
        [sys.executable, "-c", code, "scan", "--spec", spec, "--results", results],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )

    assert done.returncode == -signal.SIGKILL
    assert "results/d/index/scan.json" not in files_below(tmp_path)
    undisturbed = scanned(tmp_path / "other", ScanJob.from_json(json.loads(spec)))
    assert scanned(tmp_path, ScanJob.from_json(json.loads(spec))) == undisturbed
    assert not any("tmp" in Path(name).parts for name in files_below(tmp_path))
