import errno
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pipeline
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from opened import count_opened
from steps import running

from sampan.cli import main
from sampan.dataset.model_samples import StoredFeatures
from sampan.execution.turn import Turn
from sampan.storage import durable

ROWS = 150
BLANK = {49, 99, 149}
UNLABELLED = {7, 99}
TRAINED = ("model.safetensors", "samples.parquet", "history.json")
MODELS = {
    "word": {"task": "classify", "epochs": 40, "stop_after_epochs": 40, "batch_size": 256},
    "value": {"task": "regress", "epochs": 3},
    "short": {"task": "classify", "stop_after_epochs": 10},
}


def texts(folder):
    """150 texts with a label that says its word and one number; three are blank, two unlabelled."""
    config = pipeline.texts(folder, rows=ROWS)
    lines = [
        (f"s{i:04d}", pipeline.text_of(i), "" if i in UNLABELLED else i % 5, f"p{i % 30}")
        for i in range(ROWS)
    ]
    running.write_table(folder / "texts.csv", ["id", "text", "word", "speaker"], lines)
    dataset = config["datasets"]["texts"]
    dataset["split"] = {"validation": 0.2, "test": 0.2}
    dataset |= {"capacity": 256, "rows_per_job": 256}
    common = {"dataset": "texts", "inputs": ["text.ngrams"], "hidden": 32}
    config["models"] = {name: common | model for name, model in MODELS.items()}
    return config


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    config = texts(tmp_path_factory.mktemp("texts"))
    pipeline.run(config, threads=1)
    return config


@pytest.fixture(scope="module")
def undisturbed(extracted, tmp_path_factory):
    config = copied(extracted, tmp_path_factory.mktemp("undisturbed") / "results")
    assert main(running.training(config, "word")) == 0
    return config


def copied(config, results):
    shutil.copytree(config["results"], results)
    return running.elsewhere(config, results)


def outputs(config, name="word"):
    folder = running.model_folder(config, name)
    return {file: (folder / file).read_bytes() for file in TRAINED}


def samples(config, name="word"):
    return pq.read_table(running.model_folder(config, name) / "samples.parquet").to_pylist()


def test_training_may_shuffle_by_windows_and_stop_anywhere(extracted, tmp_path, monkeypatch):
    fetched = []
    fetch = StoredFeatures.fetch
    monkeypatch.setattr(
        StoredFeatures, "fetch", lambda self, *rows: (fetched.append(rows), fetch(self, *rows))[1]
    )
    config = running.elsewhere(extracted, extracted["results"])
    config["models"]["word"] |= {"shuffle_rows": 64, "batch_size": 16, "epochs": 3}
    whole, parts = (copied(config, tmp_path / name) for name in ("whole", "parts"))

    assert main(running.training(whole, "word")) == 0
    assert fetched
    with monkeypatch.context() as patch:
        patch.setattr(Turn, "is_over", lambda self: True)
        assert main([*running.training(parts, "word"), "--checkpoint-steps", "1"]) == 75
    assert main(running.training(parts, "word")) == 0

    assert outputs(whole) == outputs(parts)


def test_a_job_killed_twice_ends_with_the_same_bytes(extracted, undisturbed, tmp_path):
    config = copied(extracted, tmp_path / "results")
    checkpoints = running.model_folder(config, "word") / "checkpoints"
    words = [*running.training(config, "word"), "--checkpoint-steps", "1"]
    step = len(json.loads(outputs(undisturbed)["history.json"])["epochs"]) // 4

    kills = [
        running.Job(words, tmp_path / "log").kill_when(
            lambda least=least: epochs_done(checkpoints) >= least
        )
        for least in (step, 2 * step)
    ]
    ended = running.Job(words, tmp_path / "log").wait()

    assert (kills, ended) == ([True, True], 0)
    assert outputs(config) == outputs(undisturbed)
    assert (tmp_path / "log").read_text().count("goes on after step") == 2


def test_a_job_that_goes_on_reads_its_checkpoint_once(undisturbed, tmp_path, caplog):
    caplog.set_level("INFO", "sampan")
    config = copied(undisturbed, tmp_path / "results")
    folders = (running.model_folder(config, "word") / "checkpoints").glob("step-*")
    newest, *others = (count_opened(folder) for folder in sorted(folders, reverse=True))

    assert main(running.training(config, "word")) == 0

    assert "goes on after step" in caplog.text
    assert newest()["tensors.safetensors"] == 1
    assert not any(opened()["tensors.safetensors"] for opened in others)
    assert outputs(config) == outputs(undisturbed)


def epochs_done(checkpoints):
    """Of the newest checkpoint; an epoch of these samples is one step."""
    return max((int(path.name[5:]) for path in checkpoints.glob("step-*")), default=0)


def test_few_samples_are_trained_in_small_batches_for_long_and_the_length_is_recorded(
    extracted, tmp_path, caplog
):
    caplog.set_level("INFO", "sampan")
    config = copied(extracted, tmp_path / "results")

    assert main(running.training(config, "short")) == 0

    rows = sum(sample["role"] == "train" for sample in samples(config, "short"))
    batches = -(-rows // 32)
    expected = {"epochs": -(-1000 // batches), "batch_size": 32, "stop_after_epochs": 10}
    history = json.loads(outputs(config, "short")["history.json"])
    assert 64 < rows < 128 and history["length"] == expected
    assert history["epochs"][0]["steps"] == batches
    assert f"{expected['epochs']:,} epochs at most, each of {batches:,} batches" in caplog.text
    assert main(running.training(config, "short", "evaluate")) == 0
    card = json.loads((running.model_folder(config, "short") / "model.json").read_text())
    assert card["length"] == expected


def test_samples_without_features_or_label_are_left_out_with_the_reason(undisturbed):
    found = samples(undisturbed)

    assert [sample["key"] for sample in found] == [f"s{i:04d}" for i in range(ROWS)]
    left_out = {i: s["reason"] for i, s in enumerate(found) if s["role"] == "left out"}
    assert left_out == {
        7: "no label",
        99: "no label",
        49: "text.ngrams is not valid",
        149: "text.ngrams is not valid",
    }
    assert all(s["reason"] is None for s in found if s["role"] != "left out")
    assert all(s["role"] == s["split"] for s in found if s["role"] != "left out")


def test_a_speaker_is_on_one_side_of_every_split(undisturbed):
    sides = Counter((i % 30, sample["split"]) for i, sample in enumerate(samples(undisturbed)))

    assert len(sides) == 30
    assert {split for _, split in sides} == {"train", "validation", "test"}


def test_what_the_test_rows_hold_changes_nothing_of_the_model(extracted, undisturbed, tmp_path):
    config = copied(extracted, tmp_path / "results")
    tested = [i for i, sample in enumerate(samples(undisturbed)) if sample["role"] == "test"]
    swap_labels(Path(config["results"]) / "texts/index/part-00000.parquet", tested)

    assert main(running.training(config, "word")) == 0

    made, expected = outputs(config), outputs(undisturbed)
    assert made["model.safetensors"] == expected["model.safetensors"]
    assert made["history.json"] == expected["history.json"]


def swap_labels(path, rows):
    """Give these rows each other's labels, in reverse."""
    table = pq.read_table(path)
    labels = table["label"].to_pylist()
    for row, label in zip(rows, [labels[row] for row in reversed(rows)], strict=True):
        labels[row] = label
    at = table.schema.get_field_index("label")
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(labels)), path)


def test_other_labels_train_anew_and_not_from_the_old_checkpoints(undisturbed, tmp_path, caplog):
    config = copied(undisturbed, tmp_path / "results")
    index = Path(config["results"]) / "texts/index/dataset.json"
    about = json.loads(index.read_text())
    about["parts"][0]["columns"]["label"] = "0" * 32
    index.write_text(json.dumps(about))

    assert main(running.training(config, "word")) == 0

    assert "starting anew" in caplog.text
    assert "goes on after step" not in caplog.text


def test_a_number_is_regressed_in_its_own_unit(extracted, tmp_path):
    config = copied(extracted, tmp_path / "results")

    assert main(running.training(config, "value")) == 0

    labels = [
        i % 5 for i, sample in enumerate(samples(config, "value")) if sample["role"] == "train"
    ]
    model = running.model_folder(config, "value") / "model.safetensors"
    (about,) = read_metadata(model).values()
    assert json.loads(about)["target_mean"] == pytest.approx(np.mean(labels))
    assert json.loads(about)["target_deviation"] == pytest.approx(np.std(labels))


def read_metadata(path):
    with safetensors.safe_open(path, framework="np") as file:
        return file.metadata()


def test_a_label_that_is_no_number_cannot_be_regressed(extracted, tmp_path, capsys):
    config = copied(extracted, tmp_path / "results")
    path = Path(config["results"]) / "texts/index/part-00000.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("label")
    labels = ["many" if i == 3 else str(i) for i in range(ROWS)]
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(labels)), path)

    code = main(running.training(config, "value"))

    assert code == 2
    line = "error: 1 labels are no finite numbers within ±3.4e+38: 'many' (row 3)"
    assert line in capsys.readouterr().err


def test_a_split_that_comes_out_empty_is_an_error_with_counts(extracted, tmp_path, capsys):
    config = copied(extracted, tmp_path / "results")
    config["models"]["word"] = config["models"]["word"] | {"split": {"test": ["nobody"]}}

    code = main(running.training(config, "word"))

    assert code == 2
    assert "no sample falls in test; 30 groups: p0 5" in capsys.readouterr().err


def test_a_full_disk_is_waited_for_and_the_model_is_the_same(
    extracted, undisturbed, tmp_path, monkeypatch, caplog
):
    config = copied(extracted, tmp_path / "results")
    calls = []
    real = durable.write_all

    def write(file, data):
        calls.append(len(data))
        if len(calls) == 11:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, data)

    monkeypatch.setattr(durable, "write_all", write)
    words = [*running.training(config, "word"), "--checkpoint-steps", "1"]
    words[words.index("--patience-seconds") + 1] = "30"

    assert main(words) == 0

    assert "No space left on device" in caplog.text
    assert "goes on after step" in caplog.text
    assert outputs(config) == outputs(undisturbed)


def test_a_grant_that_is_too_small_is_refused_with_numbers(extracted, tmp_path, capsys):
    config = copied(extracted, tmp_path / "results")

    code = main(running.training(config, "word", memory_mb=600))

    assert code == 2
    assert "MB of memory with 1 threads; granted: 600 MB" in capsys.readouterr().err
    assert not (running.model_folder(config, "word") / "model.safetensors").exists()


def test_features_that_are_not_committed_are_an_error(extracted, tmp_path, capsys):
    config = copied(extracted, tmp_path / "results")
    (pipeline.folder_of(config, "text.ngrams") / "dataset.json").unlink()

    code = main(running.training(config, "word"))

    assert code == 2
    assert "dataset.json: is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "labels",
    [[7] * 5, [0.1] * 5, [1e-200, 2e-200, 3e-200, 4e-200, 5e-200], [-3.4e38, 3.4e38, 0, 1, 2]],
    ids=["equal", "equal and not exact", "tiny", "huge"],
)
def test_regress_learns_labels_of_any_size_and_its_metrics_are_numbers(extracted, tmp_path, labels):
    config = relabelled(extracted, tmp_path, labels)

    for verb in ("train", "evaluate"):
        assert main(running.training(config, "value", verb)) == 0

    folder = running.model_folder(config, "value")
    found = json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert all(np.isfinite(list(metric.values())).all() for metric in found["metrics"].values())
    json.loads((folder / "history.json").read_text(), parse_constant=pytest.fail)


def test_regress_refuses_labels_that_no_32_bit_float_can_hold(extracted, tmp_path, capsys):
    config = relabelled(extracted, tmp_path, [1, 2, 3, 4, 1e300])

    code = main(running.training(config, "value"))

    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    assert error.startswith("error: 27 labels are no finite numbers within ±3.4e+38: '1e+300' (row")


def relabelled(extracted, folder, labels):
    """The extracted run with other labels, in a results folder of its own."""
    config = copied(extracted, folder / "results")
    table = folder / "texts.csv"
    lines = [
        (f"s{i:04d}", pipeline.text_of(i), "" if i in UNLABELLED else labels[i % 5], f"p{i % 30}")
        for i in range(ROWS)
    ]
    running.write_table(table, ["id", "text", "word", "speaker"], lines)
    config["datasets"]["texts"]["source"][0]["path"] = str(table)
    pipeline.run(config, ("scan", "index"), threads=1)
    return config
