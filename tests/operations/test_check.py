import base64
import csv
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from configs import small

from sampan.cli import main
from sampan.operations import survey
from sampan.plan import Plan
from sampan.testing import samples

SPLIT = {"validation": 0.2, "test": 0.2}
NO_MODELS: dict[str, Any] = {"models.sort": ..., "models.align": ...}
COLUMNS = ("id", "image", "caption", "label")


def table(folder: Path, rows: int = 20, columns: tuple[str, ...] = COLUMNS) -> Path:
    """A table of good samples, with their images."""
    for i in range(rows):
        (folder / f"{i}.png").write_bytes(samples.image(height=32, width=32, seed=i))
    path = folder / "d.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([[i, f"{i}.png", f"text {i}", i % 2] for i in range(rows)])
    return path


def checked(
    folder: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any] | None = None
) -> tuple[int, list[str], list[str]]:
    """Exit code, printed lines, error lines."""
    given = {"datasets.d.source.0.path": str(folder / "d.csv"), "datasets.d.split": SPLIT}
    config = small(given | (changes or {}))
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))
    code = main(["check", str(path)])
    found = capsys.readouterr()
    return code, found.out.splitlines(), found.err.splitlines()


def test_what_would_be_made_is_listed_and_nothing_is_written(tmp_path, capsys):
    table(tmp_path)
    before = {path.name for path in tmp_path.iterdir()} | {"config.yaml"}

    code, lines, errors = checked(tmp_path, capsys)

    assert (code, errors) == (0, [])
    plan = Plan.parse(small({"datasets.d.split": SPLIT}))
    folders = {stage.name: stage.folder for stage in plan.stages()}
    assert lines == [
        "dataset d: 20 rows of 256, 4 partitions of 64 rows",
        f"  {folders['image']}: 32 × 32 × 3 uint8, 61.4 kB",
        f"  {folders['caption']}: 64 uint8, 1.3 kB",
        f"  {folders['image.hog']}",
        f"  {folders['caption.ngrams']}",
        f"model {plan.models['sort'].variant}: classify from image.hog",
        "  train 12, validation 5, test 3; 2 classes of 10 samples",
        f"model {plan.models['align'].variant}: align from image.hog, caption.ngrams",
        "  train 12, validation 5, test 3",
        f"{tmp_path}/config.yaml: nothing that would fail was found",
    ]
    assert {path.name for path in tmp_path.iterdir()} == before


def test_missing_columns_are_found(tmp_path, capsys):
    table(tmp_path, columns=("id", "photo", "caption", "label"))

    code, lines, errors = checked(tmp_path, capsys)

    assert code == 2
    assert errors == [
        f"error: datasets.d.source.0: {tmp_path}/d.csv: no column 'image'; "
        "there are: id, photo, caption, label"
    ]
    assert lines[0] == "dataset d: unknown rows of 256, 4 partitions of 64 rows"


def test_a_column_that_no_row_of_json_has_is_found(tmp_path, capsys):
    table(tmp_path, rows=1)
    path = tmp_path / "d.jsonl"
    path.write_text('{"id": 1, "image": "0.png", "label": 1}\n')

    code, _, errors = checked(tmp_path, capsys, {"datasets.d.source.0.path": str(path)})

    assert code == 2
    assert errors[0].endswith(
        "d.jsonl: no row has the column 'caption'; there are: id, image, label"
    )


def test_rows_further_down_that_cannot_be_used_are_a_warning_with_their_number(tmp_path, capsys):
    path = table(tmp_path, rows=60)
    path.write_text(path.read_text() + '60,0.png,"open,1\n61,0.png\n62,0.png,text,1\n')

    code, lines, _ = checked(tmp_path, capsys)

    assert code == 0
    assert lines[0].startswith("dataset d: 63 rows of 256")
    assert (
        f"warning: datasets.d: {path}: 2 of 63 rows cannot be used, such as row 60: a quote opens "
        "a cell and does not close in this row: set quote: none, if the table does not quote"
    ) in lines


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_labels_that_are_lists_are_an_error(tmp_path, capsys, ending):
    table(tmp_path)
    rows = [{"id": i, "image": f"{i}.png", "caption": "a", "label": ["a"]} for i in range(3)]
    path = tmp_path / f"l.{ending}"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)

    code, _, errors = checked(tmp_path, capsys, {"datasets.d.source.0.path": str(path)})

    assert code == 2
    assert "label: " in errors[0]
    assert "where one text or number is needed" in errors[0]


def test_a_source_that_holds_no_rows_beside_others_is_a_warning(tmp_path, capsys):
    path = table(tmp_path)
    entry = {"kind": "table", "path": str(path), "key": "id"}

    code, lines, _ = checked(
        tmp_path, capsys, {"datasets.d.source": [entry, entry | {"where": {"label": "no"}}]}
    )

    assert code == 0
    assert (
        f"warning: datasets.d.source.1: {path}: where: label is the text 'no', and the column "
        "holds '0' (10), '1' (10)" in lines
    )


def test_all_sources_are_looked_at_also_after_one_that_is_missing(tmp_path, capsys):
    table(tmp_path)
    entries = [
        {"kind": "table", "path": str(tmp_path / name), "key": key}
        for name, key in (("gone.csv", "id"), ("d.csv", "name"))
    ]

    code, _, errors = checked(tmp_path, capsys, {"datasets.d.source": entries})

    assert code == 2
    assert [error.split(": ")[1] for error in errors] == [
        "datasets.d.source.0",
        "datasets.d.source.1",
    ]


def test_some_missing_files_are_a_warning_and_all_are_an_error(tmp_path, capsys):
    table(tmp_path)
    (tmp_path / "3.png").unlink()
    code, lines, _ = checked(tmp_path, capsys)
    assert code == 0
    assert (
        "warning: datasets.d.modalities.image: 1 of the first 16 samples are not valid, such as "
        "3: missing file" in lines
    )

    for path in tmp_path.glob("*.png"):
        path.unlink()
    code, _, errors = checked(tmp_path, capsys)

    assert code == 2
    assert errors == [
        "error: datasets.d.modalities.image: 16 of the first 16 samples are not valid, such as "
        "0: missing file"
    ]


def test_a_folder_that_is_gone_is_an_error_at_once(tmp_path, capsys):
    table(tmp_path)

    code, _, errors = checked(tmp_path, capsys, {"datasets.d.source.0.root": "not/mounted"})

    assert code == 2
    assert "the folder not/mounted is gone" in errors[0]


def test_a_capacity_that_is_too_small_is_an_error_with_what_to_set(tmp_path, capsys):
    table(tmp_path, rows=70)

    code, _, errors = checked(tmp_path, capsys, {"datasets.d.capacity": 64})

    assert code == 2
    assert errors == [
        "error: datasets.d: 70 samples exceed capacity: 64; set capacity: 128 (2 jobs of 64 rows)"
    ]


def test_unknown_plugins_and_refused_settings_are_listed_together(tmp_path, capsys):
    table(tmp_path)
    changes = {"encoders.hog.bins": 3, "datasets.d.modalities.caption.kind": "txt"}

    code, _, errors = checked(tmp_path, capsys, changes)

    assert code == 2
    assert [error.split(": ")[1] for error in errors] == [
        "encoders.hog.bins",
        "datasets.d.modalities.caption",
    ]


def test_an_encoder_that_the_stored_modality_cannot_serve_is_an_error(tmp_path, capsys):
    table(tmp_path)
    changes = {"datasets.d.modalities.image.height": 8, "datasets.d.modalities.image.width": 8}

    code, _, errors = checked(tmp_path, capsys, changes)

    assert code == 2
    assert errors[0].startswith("error: datasets.d.features.image: hog: stored at 8×8 px")


def test_weights_that_are_not_there_are_an_error(tmp_path, capsys):
    table(tmp_path)
    changes = {
        "encoders.clip": {
            "kind": "transformers",
            "path": str(tmp_path / "weights"),
            "digest": "0" * 64,
            "output": "projection",
        },
        "datasets.d.features.image": ["hog", "clip"],
    }

    code, _, errors = checked(tmp_path, capsys, changes)

    assert code == 2
    assert errors == [
        f"error: datasets.d.features.image: clip: {tmp_path}/weights: no such folder of weights"
    ]


def test_what_is_no_file_and_where_links_lead_is_said_at_once(tmp_path, capsys):
    table(tmp_path)
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    outside.mkdir()
    (tmp_path / "1.png").rename(outside / "1.png")
    (tmp_path / "1.png").symlink_to(outside / "1.png")
    (tmp_path / "3.png").unlink()
    os.mkfifo(tmp_path / "3.png")

    few = {"datasets.d.modalities.image.max_invalid": 0.1}
    code, lines, _ = checked(tmp_path, capsys, few)
    _, allowed, _ = checked(tmp_path, capsys, few | {"datasets.d.source.0.allow": [str(outside)]})

    where = (
        "warning: datasets.d.modalities.image: {} of the first 16 samples are not valid, such as "
    )
    warning, of_all, *_ = [line for line in lines if line.startswith("warning")]
    assert code == 0
    assert "2 of all 20 files cannot be used" in of_all
    assert warning == where.format(2) + (
        f"1: link out of the source's folders, see allow: 1.png leads to {outside}/1.png; "
        f"allow: [{outside}] on the source lets it be read"
    )
    assert where.format(1) + "3: a FIFO, not a file" in allowed


def test_pictures_in_base64_are_decoded_where_the_setting_says_so(tmp_path, capsys):
    table(tmp_path)
    coded = [base64.b64encode((tmp_path / f"{i}.png").read_bytes()).decode() for i in range(20)]
    coded[1] = f"data:image/png;base64,{coded[1]}"
    rows = [[i, cell, f"text {i}", i % 2] for i, cell in enumerate(coded)]
    with (tmp_path / "d.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])

    coded_so = {"datasets.d.modalities.image.cell": "base64"}
    _, _, without = checked(tmp_path, capsys)
    code, lines, errors = checked(tmp_path, capsys, NO_MODELS | coded_so)

    assert "set cell: base64 for this modality" in without[0]
    assert (code, errors) == (0, [])
    assert not [line for line in lines if line.startswith("warning")]


def test_a_modality_of_which_no_sample_has_a_value_is_a_warning_and_no_error(tmp_path, capsys):
    table(tmp_path)
    with (tmp_path / "d.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *([i, "", f"text {i}", i % 2] for i in range(20))])

    code, lines, errors = checked(tmp_path, capsys, NO_MODELS)

    assert (code, errors) == (0, [])
    assert (
        "warning: datasets.d.modalities.image: none of the first 16 samples has a value in column "
        "'image'" in lines
    )


def test_a_row_that_is_refused_is_no_fault_of_a_modality_without_values(tmp_path, capsys):
    rows = [{"id": str(i), "words": f"text {i}", "rare": None} for i in range(40)]
    rows[3]["words"] = "\ud800"

    code, lines, errors = checked(tmp_path, capsys, texts(tmp_path, rows, rare={"max_invalid": 1}))

    assert (code, errors) == (0, [])
    assert any("rare: 39 of 39 cells are empty" in line for line in warnings(lines))


def test_cells_that_one_modality_cannot_use_are_told_of_all(tmp_path, capsys):
    """Such a row is refused as a whole."""
    rows = [{"id": str(i), "words": f"text {i}", "rare": [{"bytes": b"x"}]} for i in range(40)]
    path = tmp_path / "d.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    changes = texts(tmp_path, [], rare={"max_invalid": 1})

    code, _, errors = checked(tmp_path, capsys, changes | {"datasets.d.source.0.path": str(path)})

    assert code == 2
    assert any("40 of 40 rows cannot be used (40 unusable rare)" in line for line in errors)


def test_blank_cells_are_absent_where_a_cell_is_no_value(tmp_path, capsys):
    path = table(tmp_path)
    path.write_text(path.read_text().replace(",3.png", ",  ").replace(",5.png", ","))

    code, lines, errors = checked(tmp_path, capsys, NO_MODELS)

    assert (code, errors) == (0, [])
    assert any("image: 2 of 20 cells are empty" in line for line in warnings(lines))


def test_what_tables_hold_cannot_steer_the_terminal(tmp_path, capsys):
    table(tmp_path)
    rows = [[f"\x1b[2J{i}", f"\x1b]0;x\x07{i}.png", "text", i % 2] for i in range(4)]
    with (tmp_path / "d.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])

    code, lines, errors = checked(tmp_path, capsys)

    assert code == 2
    assert "\x1b" not in "".join([*lines, *errors])
    assert "\\u001b[2J0: missing file" in errors[0]


# All rows -----------------------------------------------------------------------------------------


def lines_table(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """JSON Lines of these rows, and changes for a config whose only modality is their caption."""
    path = folder / "d.jsonl"
    path.write_text("\n".join(json.dumps({"id": str(i)} | row) for i, row in enumerate(rows)))
    return {
        "datasets.d.source.0.path": str(path),
        "datasets.d.modalities.image": ...,
        "datasets.d.features.image": ...,
        "models.align": ...,
        "models.sort.inputs": ["caption.ngrams"],
    }


def texts(folder: Path, rows: list[dict[str, Any]], **modalities: dict[str, Any]) -> dict[str, Any]:
    """Changes to a config of texts alone: `words`, and these, whose columns are so called."""
    return {
        **lines_table(folder, rows),
        **NO_MODELS,
        "datasets.d.label": ...,
        "datasets.d.modalities": {
            name: {"kind": "text", "column": name, "bytes": 16} | settings
            for name, settings in ({"words": {}} | modalities).items()
        },
        "datasets.d.features": {},
        "encoders": {},
    }


def warnings(lines: list[str]) -> list[str]:
    return [line.removeprefix("warning: ") for line in lines if line.startswith("warning: ")]


def test_a_split_that_comes_out_empty_is_an_error_with_the_counts(tmp_path, capsys):
    table(tmp_path)
    own = {"models.sort.split": {"validation": 0, "test": 0.2}}

    code, _, errors = checked(tmp_path, capsys, own)

    assert code == 2
    assert errors == [
        "error: models.sort: no sample falls in validation (train 17, validation 0, test 3; 2 "
        "classes of 10 samples); change the fractions, or list groups"
    ]


def test_a_model_that_needs_no_training_needs_no_training_split(tmp_path, capsys):
    table(tmp_path)
    changes = {
        "models.align": ...,
        "models.sort": {
            "dataset": "d",
            "task": "retrieve",
            "inputs": ["image.hog", "caption.ngrams"],
        },
        "encoders.ngrams.dimensions": 324,
        "datasets.d.split": {"train": 0.0, "validation": 0.0, "test": 1.0},
    }

    assert checked(tmp_path, capsys, changes)[0] == 0


def test_rows_that_lack_a_models_input_do_not_count_for_it(tmp_path, capsys):
    rows = [{"caption": "" if i % 2 else f"text {i}", "label": i % 3} for i in range(40)]

    code, lines, _ = checked(tmp_path, capsys, lines_table(tmp_path, rows))

    assert code == 0
    (counts,) = [line for line in lines if line.startswith("  train")]
    assert (
        sum(int(word.rstrip(",;")) for word in counts.split(";")[0].split() if word[0].isdigit())
        == 20
    )
    assert warnings(lines) == [
        "datasets.d.modalities.caption: 20 of 40 cells are empty (50.0 %); these samples are "
        "absent, and no model that needs them uses them"
    ]


def test_a_model_for_which_every_sample_lacks_something_is_told_so(tmp_path, capsys):
    rows = [{"caption": f"text {i}", "label": None} for i in range(30)]

    code, _, errors = checked(tmp_path, capsys, lines_table(tmp_path, rows))

    assert code == 2
    assert errors == ["error: models.sort: no sample has all that it needs: caption and label"]


def test_classes_without_samples_in_train_or_test_are_named(tmp_path, capsys):
    rows = [{"caption": f"text {i}", "label": "rare" if i == 0 else "often"} for i in range(60)]

    code, lines, _ = checked(tmp_path, capsys, lines_table(tmp_path, rows))

    assert code == 0
    (warning,) = warnings(lines)
    assert warning.startswith("models.sort: 1 of 2 classes has no sample in ")
    assert warning.endswith(": rare")


@pytest.mark.parametrize(
    ("label", "task", "said"),
    [
        (lambda i: "same", "classify", "all labels are same; classification needs two classes"),
        (lambda i: f"{i} kg", "regress", "40 labels are no numbers of 32 bits, such as 0 kg, 1 kg"),
        (
            lambda i: 1e300 if i == 3 else i,
            "regress",
            "1 label is no number of 32 bits, such as 1e+300",
        ),
    ],
)
def test_labels_that_a_task_cannot_use_are_an_error(tmp_path, capsys, label, task, said):
    rows = [{"caption": f"text {i}", "label": label(i)} for i in range(40)]
    changes = lines_table(tmp_path, rows) | {"models.sort.task": task}

    code, _, errors = checked(tmp_path, capsys, changes)

    assert code == 2
    assert [error for error in errors if said in error] == errors != []


def test_labels_that_are_all_different_are_taken_for_names_of_rows(tmp_path, capsys):
    rows = [{"caption": f"text {i}", "label": f"row-{i}"} for i in range(40)]

    _, lines, _ = checked(tmp_path, capsys, lines_table(tmp_path, rows))

    assert warnings(lines) == [
        "models.sort: all 40 labels are different; is the column a name of the rows rather than "
        "their class?"
    ]


@pytest.mark.parametrize("on_duplicate", ["error", "quarantine", "trust"])
def test_keys_that_repeat_are_named_by_their_rows(tmp_path, capsys, on_duplicate):
    rows = [
        {"id": "7" if i in (30, 35) else str(i), "caption": "a", "label": i % 2} for i in range(40)
    ]
    changes = lines_table(tmp_path, rows) | {"datasets.d.on_duplicate": on_duplicate}

    code, lines, errors = checked(tmp_path, capsys, changes)

    said = "datasets.d: 2 keys repeat an earlier one, counting rows from 0: row 30 (as row 7)"
    assert (code == 2) == any(said in error for error in errors) == (on_duplicate == "error")
    assert any(said in line for line in warnings(lines)) == (on_duplicate == "quarantine")


def test_a_text_of_whole_objects_is_a_warning_that_names_their_fields(tmp_path, capsys):
    rows = [{"caption": {"words": f"text {i}", "answer": i % 2}, "label": i % 2} for i in range(40)]

    code, lines, _ = checked(tmp_path, capsys, lines_table(tmp_path, rows))

    assert code == 0
    (warning,) = warnings(lines)
    assert "cells of column 'caption' are objects" in warning
    assert "(words and answer); is the label among it?" in warning
    assert "column: caption.words" in warning


def test_missing_files_anywhere_in_the_table_are_counted(tmp_path, capsys):
    table(tmp_path, rows=60)
    for row in (40, 41, 59):
        (tmp_path / f"{row}.png").unlink()

    code, lines, _ = checked(tmp_path, capsys, {"datasets.d.modalities.image.max_invalid": 0.05})

    assert code == 0
    said = "3 of all 60 files cannot be used (5.0 %: 3 missing file), such as 40: missing file"
    assert any(said in line for line in warnings(lines))

    (tmp_path / "50.png").unlink()
    code, _, errors = checked(tmp_path, capsys)

    assert code == 2
    assert "4 of all 60 files cannot be used" in errors[0]
    assert "max_invalid: 0.05 allows 5.0 %" in errors[0]


def test_of_many_files_some_are_chosen_at_random_and_that_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(survey, "CHOSEN", 50)
    rows = [[str(i), "0.png", "text", i % 2] for i in range(250)]
    table(tmp_path, rows=1)
    with (tmp_path / "d.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *([r[0], "gone.png", *r[2:]] if i >= 125 else r
                                                 for i, r in enumerate(rows))])  # fmt: skip

    code, lines, _ = checked(tmp_path, capsys)

    assert code == 0
    (said,) = [line for line in warnings(lines) if " files chosen at random of 250 " in line]
    bad = int(said.split(": ")[1].split()[0])
    assert "50 files chosen at random" in said
    assert 10 <= bad <= 40


def test_damage_beyond_the_first_samples_is_found_in_some_chosen_at_random(tmp_path, capsys):
    table(tmp_path, rows=60)
    for row in range(20, 60):
        (tmp_path / f"{row}.png").write_bytes(b"no picture")

    _, lines, _ = checked(tmp_path, capsys, {"datasets.d.modalities.image.max_invalid": 0.9})

    assert any("samples chosen at random of 60 cannot be used" in line for line in warnings(lines))


def test_a_modality_that_no_encoder_takes_is_a_warning(tmp_path, capsys):
    table(tmp_path)
    changes = {"datasets.d.features.caption": ..., "models.align": ...}

    _, lines, _ = checked(tmp_path, capsys, changes)

    assert any(line.startswith("datasets.d.modalities.caption: no encoder takes it") for line in
               warnings(lines))  # fmt: skip


def test_the_values_of_parquet_are_looked_at_too(tmp_path, capsys):
    table = pa.table({
        "id": [str(i) for i in range(40)],
        "caption": [None if i < 10 else "text" for i in range(40)],
        "label": [i % 2 for i in range(40)],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "d.parquet")
    changes = lines_table(tmp_path, []) | {"datasets.d.source.0.path": str(tmp_path / "d.parquet")}

    _, lines, _ = checked(tmp_path, capsys, changes)

    assert any("10 of 40 cells are empty (25.0 %)" in line for line in warnings(lines))


def test_control_characters_of_the_data_reach_no_terminal(tmp_path, capsys):
    rows = [{"caption": f"text {i}", "label": "\x1b[31mred" if i == 0 else "b"} for i in range(40)]

    _, lines, errors = checked(tmp_path, capsys, lines_table(tmp_path, rows))

    assert "\x1b" not in "".join([*lines, *errors])
