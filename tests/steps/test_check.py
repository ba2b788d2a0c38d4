import base64
import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
from configs import small

from sampan.cli import main
from sampan.plan import Plan
from sampan.testing import samples

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
    config = small({"datasets.d.source.0.path": str(folder / "d.csv"), **(changes or {})})
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
    plan = Plan.parse(small())
    folders = {stage.name: stage.folder for stage in plan.stages()}
    assert lines == [
        "dataset d: 20 rows of 256, 4 partitions of 64 rows",
        f"  {folders['image']}: 32 × 32 × 3 uint8, 61.4 kB",
        f"  {folders['caption']}: 64 uint8, 1.3 kB",
        f"  {folders['image.hog']}",
        f"  {folders['caption.ngrams']}",
        f"model {plan.models['sort'].variant}: classify from image.hog",
        f"model {plan.models['align'].variant}: align from image.hog, caption.ngrams",
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
    assert errors[0].endswith("d.jsonl: no row has the column 'caption'")


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

    code, lines, _ = checked(tmp_path, capsys)
    _, allowed, _ = checked(tmp_path, capsys, {"datasets.d.source.0.allow": [str(outside)]})

    where = (
        "warning: datasets.d.modalities.image: {} of the first 16 samples are not valid, such as "
    )
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert code == 0
    assert warning == where.format(2) + (
        f"1: link out of the source's folders, see allow: 1.png leads to {outside}/1.png; "
        f"allow: [{outside}] on the source lets it be read"
    )
    assert where.format(1) + "3: a FIFO, not a file" in allowed


def test_pictures_in_base64_are_decoded_where_the_setting_says_so(tmp_path, capsys):
    table(tmp_path)
    coded = [base64.b64encode((tmp_path / f"{i}.png").read_bytes()).decode() for i in range(4)]
    coded[1] = f"data:image/png;base64,{coded[1]}"
    rows = [[i, cell, f"text {i}", i % 2] for i, cell in enumerate(coded)]
    with (tmp_path / "d.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])

    _, _, without = checked(tmp_path, capsys)
    code, lines, errors = checked(tmp_path, capsys, {"datasets.d.modalities.image.cell": "base64"})

    assert "set cell: base64 for this modality" in without[0]
    assert (code, errors) == (0, [])
    assert not [line for line in lines if line.startswith("warning")]


def test_a_modality_of_which_no_sample_has_a_value_is_a_warning_and_no_error(tmp_path, capsys):
    table(tmp_path)
    with (tmp_path / "d.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *([i, "", f"text {i}", i % 2] for i in range(20))])

    code, lines, errors = checked(tmp_path, capsys)

    assert (code, errors) == (0, [])
    assert (
        "warning: datasets.d.modalities.image: none of the first 16 samples has a value in column "
        "'image'" in lines
    )


def test_what_tables_hold_cannot_steer_the_terminal(tmp_path, capsys):
    table(tmp_path)
    rows = [[f"\x1b[2J{i}", f"\x1b]0;x\x07{i}.png", "text", i % 2] for i in range(4)]
    with (tmp_path / "d.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])

    code, lines, errors = checked(tmp_path, capsys)

    assert code == 2
    assert "\x1b" not in "".join([*lines, *errors])
    assert "\\u001b[2J0: missing file" in errors[0]
