import json
import shutil
from pathlib import Path

import numpy as np
import pipeline
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score
from steps import running

from sampan.cli import main
from sampan.dataset.model_samples import Samples
from sampan.index.columns import Coded
from sampan.plan import Plan
from sampan.storage.durable import read_json

ROWS = 120


def pairs(folder):
    """A text twice, in two columns, and a label: what is to be found lies in both."""
    lines = [
        (f"s{i:03d}", text, text if i % 40 else "", i % 4)
        for i in range(ROWS)
        for text in [f"{pipeline.WORDS[i % 4]} {i // 8}"]
    ]
    table = folder / "pairs.csv"
    running.write_table(table, ["id", "one", "two", "class"], lines)
    text = {"kind": "text", "bytes": 32, "rows_per_shard": 64}
    dataset = {
        "source": [{"kind": "table", "path": str(table), "key": "id"}],
        "capacity": 128,
        "rows_per_job": 128,
        "label": "class",
        "split": {"validation": 0.2, "test": 0.3},
        "modalities": {"one": text | {"column": "one"}, "two": text | {"column": "two"}},
        "features": {"one": ["ngrams"], "two": ["ngrams", "short"]},
    }
    both = {"dataset": "pairs", "task": "retrieve"}
    models = {
        "class": {"dataset": "pairs", "task": "classify", "inputs": ["one.ngrams"], "epochs": 8},
        "value": {"dataset": "pairs", "task": "regress", "inputs": ["one.ngrams"], "epochs": 8},
        "same": both | {"inputs": ["one.ngrams", "two.ngrams"]},
    }
    encoders = {
        "ngrams": {"kind": "ngrams", "dimensions": 128},
        "short": {"kind": "ngrams", "dimensions": 16},
    }
    results = str(folder / "results")
    return {
        "results": results,
        "datasets": {"pairs": dataset},
        "encoders": encoders,
        "models": models,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    config = pairs(tmp_path_factory.mktemp("pairs"))
    pipeline.run(config, threads=1)
    for name in config["models"]:
        assert main(running.training(config, name)) == 0
    return config


def evaluated(config, name):
    assert main(running.training(config, name, "evaluate")) == 0
    folder = running.model_folder(config, name)
    return read_json(folder / "metrics.json"), pq.read_table(folder / "predictions.parquet")


def roles(config, name):
    table = pq.read_table(running.model_folder(config, name) / "samples.parquet")
    return np.array(table["role"].to_pylist(), object)


def test_classification_is_measured_on_the_test_rows_as_scikit_learn_does(trained):
    found, table = evaluated(trained, "class")

    label, guess = (table[name].to_pylist() for name in ("label", "predicted"))
    assert table["row"].to_pylist() == np.flatnonzero(roles(trained, "class") == "test").tolist()
    assert label == [str(row % 4) for row in table["row"].to_pylist()]
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(accuracy_score(label, guess))
    macro = f1_score(label, guess, average="macro")
    assert found["metrics"]["macro_f1"]["value"] == pytest.approx(macro)
    assert found["samples"] == len(label)


def test_regression_is_measured_as_scikit_learn_does(trained):
    found, table = evaluated(trained, "value")

    label, guess = (table[name].to_pylist() for name in ("label", "predicted"))
    assert label == [row % 4 for row in table["row"].to_pylist()]
    assert found["metrics"]["r2"]["value"] == pytest.approx(r2_score(label, guess))
    mae = mean_absolute_error(label, guess)
    assert found["metrics"]["mae"]["value"] == pytest.approx(mae)


def test_equal_features_retrieve_each_other_without_training(trained):
    found, table = evaluated(trained, "same")

    assert found["metrics"]["one→two/recall_at_1"]["value"] == 1
    assert found["metrics"]["two→one/median_rank"]["value"] == 1
    near = [nearest[0] for nearest in table["one→two/nearest"].to_pylist()]
    index = Path(trained["results"]) / "pairs/index/part-00000.parquet"
    text = pq.read_table(index)["two"].to_pylist()
    assert [text[row] for row in near] == [text[row] for row in table["row"].to_pylist()]


def test_the_neighbours_are_as_near_however_many_are_looked_at_together(trained, monkeypatch):
    _, whole = evaluated(trained, "same")
    monkeypatch.setattr("sampan.evaluation.search.ITEMS_AT_ONCE", 7)

    _, tiles = evaluated(trained, "same")

    for name in ("one→two", "two→one"):
        scores = (np.array(found[f"{name}/scores"].to_pylist()) for found in (whole, tiles))
        np.testing.assert_allclose(*scores, atol=1e-6)
        assert tiles[f"{name}/rank"].to_pylist() == whole[f"{name}/rank"].to_pylist()


def test_retrieve_needs_no_training_rows_and_leaves_out_what_is_not_valid(trained):
    table = pq.read_table(running.model_folder(trained, "same") / "samples.parquet").to_pylist()

    left_out = {i: sample["reason"] for i, sample in enumerate(table) if sample["reason"]}
    assert left_out == {i: "two is absent" for i in range(0, ROWS, 40)}


def test_features_of_different_lengths_are_an_error_that_says_so(trained, capsys):
    words = running.training(trained, "same", "evaluate")
    at = words.index("--spec") + 1
    spec = json.loads(words[at])
    spec["features"]["two.ngrams"] = Plan.parse(trained).features["pairs", "two.short"]._asdict()
    words[at] = json.dumps(spec)

    code = main(words)

    assert code == 2
    assert "embeddings of different lengths cannot be compared: one 128, two 16" in (
        capsys.readouterr().err
    )


def test_the_card_counts_what_was_used_and_left_out(trained):
    evaluated(trained, "same")

    card = read_json(running.model_folder(trained, "same") / "model.json")

    assert sum(card["counts"].values()) == ROWS
    assert card["left_out"] == {"two is absent": 3}
    assert card["counts"]["left out"] == 3


@pytest.mark.parametrize("name", ["samples.parquet", "model.safetensors"])
def test_a_model_that_is_not_there_is_an_error(trained, tmp_path, capsys, name):
    config = running.elsewhere(trained, tmp_path / "results")
    shutil.copytree(trained["results"], config["results"])
    (running.model_folder(config, "class") / name).unlink()
    (running.model_folder(config, "class") / "model.json").unlink(missing_ok=True)

    code = main(running.training(config, "class", "evaluate"))

    assert code == 2
    assert f"{name}: " in capsys.readouterr().err
    assert not (running.model_folder(config, "class") / "model.json").exists()


def test_a_model_of_a_shorter_index_is_not_evaluated(trained, tmp_path, capsys):
    config = running.elsewhere(trained, tmp_path / "results")
    shutil.copytree(trained["results"], config["results"])
    path = running.model_folder(config, "class") / "samples.parquet"
    pq.write_table(pq.read_table(path).slice(0, ROWS - 10), path)

    code = main(running.training(config, "class", "evaluate"))

    assert code == 2
    assert "trained on an index of 110 rows, now there are 120" in capsys.readouterr().err


def test_labels_that_a_model_was_not_trained_on_are_an_error(
    trained, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(
        Samples, "labels", property(lambda self: Coded(np.zeros(self.rows, np.int8), ("new",)))
    )

    code = main(running.training(trained, "class", "evaluate"))

    assert code == 2
    assert "have labels that the model was not trained on" in capsys.readouterr().err


def test_a_grant_that_is_too_small_is_refused_with_numbers(trained, capsys):
    code = main(running.training(trained, "class", "evaluate", memory_mb=600))

    assert code == 2
    assert "MB of memory with 1 threads; granted: 600 MB" in capsys.readouterr().err
