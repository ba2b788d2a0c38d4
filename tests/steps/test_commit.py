import json

import pipeline
import pytest

from sampan.cli import main
from sampan.errors import DataError
from sampan.plan import Plan
from sampan.steps.report import check_invalid
from sampan.storage.durable import read_json


@pytest.fixture
def config(tmp_path):
    return pipeline.finished_texts(tmp_path)


def commit(config, step):
    return [words for words in pipeline.commands(config, [step]) if words[0] == "commit"][-1]


def test_too_many_invalid_samples_are_not_committed_and_the_reasons_are_given(config, capsys):
    config["datasets"]["texts"]["modalities"]["text"]["max_invalid"] = 0.01
    stage = pipeline.folder_of(config, "text")
    before = (stage / "dataset.json").read_bytes()

    assert main(commit(config, "preprocess")) == 2

    error = capsys.readouterr().err
    assert f"texts: {stage.name}: 3 of 150 samples are invalid (empty text)" in error
    assert "max_invalid: 0.01 allows 1" in error
    assert (stage / "dataset.json").read_bytes() == before


def test_samples_that_were_invalid_above_count_once(config):
    config["datasets"]["texts"]["modalities"]["text"]["max_invalid"] = 0.0

    assert main(commit(config, "extract")) == 0


def test_a_receipt_of_other_settings_is_refused(config, capsys):
    words = commit(config, "preprocess")
    path = pipeline.folder_of(config, "text") / "receipts/part-00001.json"
    path.write_text(json.dumps(read_json(path) | {"settings": "others"}))

    assert main(words) == 2

    assert f"{path}: made with other settings; run: sampan forget" in capsys.readouterr().err


def test_a_damaged_stage_is_not_committed(config, capsys):
    stage = pipeline.folder_of(config, "text")
    (stage / "data.zarr/text/c.3.0").unlink()

    assert main(commit(config, "preprocess")) == 2

    assert "c.3.0: is missing" in capsys.readouterr().err


def test_dataset_json_says_what_the_stage_was_made_with(config):
    about = read_json(pipeline.folder_of(config, "text.ngrams") / "dataset.json")

    assert about["made_with"] == {
        "modality": {"kind": "text", "bytes": 32},
        "encoder": {"kind": "ngrams", "dimensions": 16},
    }
    assert (about["rows"], about["valid"], about["reasons"]) == (150, 147, {"text is not valid": 3})
    assert [part["rows"] for part in about["parts"]] == [64, 64, 22, 0]


def test_the_index_lists_its_partitions_with_the_digests_of_their_keys(config):
    about = read_json(pipeline.results_of(config) / "texts/index/dataset.json")

    assert about["rows"] == 150
    assert [part["first"] for part in about["parts"][:3]] == [0, 64, 128]
    assert [part["rows"] for part in about["parts"]] == [64, 64, 22, 0]
    assert len({part["keys"] for part in about["parts"]}) == 4


def test_a_page_is_refused_where_max_invalid_was_lowered_after_the_commit(tmp_path):
    config = pipeline.finished_texts(tmp_path)
    modality = config["datasets"]["texts"]["modalities"]["text"]
    check_invalid(Plan.parse(config), pipeline.results_of(config))
    modality["max_invalid"] = 0.01

    with pytest.raises(DataError, match=r"3 of 150 samples are invalid .* 0\.01 allows 1;"):
        check_invalid(Plan.parse(config), pipeline.results_of(config))


@pytest.mark.parametrize(("bad", "code"), [(2, 0), (12, 2)])
def test_rows_that_the_index_refuses_break_no_modality_that_few_rows_have(tmp_path, bad, code):
    config = pipeline.texts(tmp_path, rows=60)
    lines = [f"s{i},{'rare' if i % 20 == 19 else ''},one,p" for i in range(60)]
    lines[:bad] = ["torn"] * bad
    (tmp_path / "texts.csv").write_text("\n".join(["id,text,word,speaker", *lines]))
    words = list(pipeline.commands(config, ("scan", "index", "preprocess")))

    codes = [main(job) for job in words if not pipeline.remove_outputs(job)]

    assert max(codes) == code
