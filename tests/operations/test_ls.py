import json

import pipeline
import pytest

from sampan.cli import main
from sampan.operations.ls import megabytes


def listed(results, capsys):
    assert main(["ls", "--results", str(results)]) == 0
    return capsys.readouterr().out.splitlines()


def test_variants_are_listed_with_rows_size_date_and_what_they_were_made_with(tmp_path, capsys):
    config = pipeline.finished_texts(tmp_path)
    stage = pipeline.folder_of(config, "text")
    features = pipeline.folder_of(config, "text.ngrams")
    (features / "dataset.json").unlink()
    about = json.loads((stage / "dataset.json").read_bytes())

    header, first, second = listed(config["results"], capsys)

    assert header.split() == ["dataset", "variant", "rows", "valid", "size", "date", "made", "with"]
    cells = first.split(maxsplit=8)
    assert cells[:4] == ["texts", f"preprocess/{stage.name}", "150", "147"]
    assert cells[4:6] == [f"{about['bytes'] / 1000:.1f}", "kB"]
    assert json.loads(cells[8]) == {"modality": {"kind": "text", "bytes": 32}}
    assert second.split()[:2] == ["texts", f"features/{features.name}"]
    assert second.endswith("not committed")


def test_models_are_listed_trained_or_not(tmp_path, capsys):
    card = {"counts": {"train": 1000, "test": 200}, "settings": {"task": "classify"}}
    for name in ("one@01234567", "two@89abcdef"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "models/one@01234567/model.json").write_text(json.dumps(card))

    _, one, two = listed(tmp_path, capsys)

    assert one.split()[:3] == ["models", "one@01234567", "1,200"]
    assert one.endswith('{"task": "classify"}')
    assert two.endswith("not trained")


def test_an_empty_folder_says_how_to_begin(tmp_path, capsys):
    assert listed(tmp_path, capsys)[-1].endswith("nothing yet; run: make run")


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (123_456_789, "123.5 MB"),
        (5 * 10**9, "5.0 GB"),
        (1.5e15, "1,500.0 TB"),
    ],
)
def test_sizes_are_decimal(size, shown):
    assert megabytes(size) == shown
