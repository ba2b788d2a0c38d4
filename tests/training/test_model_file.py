import json
import struct

import numpy as np
import pytest
from training import synthetic

from sampan.config.models import RegressSettings
from sampan.config.split import SplitSettings
from sampan.errors import StorageError
from sampan.models.targets import ValueTargets
from sampan.training.loop import train
from sampan.training.model_file import load_model, save_model
from sampan.training.predict import embeddings, probabilities, values


def test_a_loaded_model_predicts_the_same_bits(tmp_path):
    split = SplitSettings(test=("jackson",), validation=0.1)
    model = synthetic.run(tmp_path, "classify", changes={"split": split}).model
    save_model(model, tmp_path / "model.safetensors")

    loaded = load_model(tmp_path / "model.safetensors")

    features = synthetic.features()
    before = probabilities(model, features, synthetic.TEST, threads=1)
    after = probabilities(loaded, features, synthetic.TEST, threads=1)
    assert before.tobytes() == after.tobytes()
    assert loaded.settings == model.settings
    assert loaded.classes == ("a", "b", "c", "d")


def test_the_order_of_inputs_survives_the_file(tmp_path):
    names = tuple(sorted(synthetic.features(), reverse=True))
    model = synthetic.run(tmp_path, "classify", changes={"inputs": names, "hidden": 0}).model
    save_model(model, tmp_path / "model.safetensors")

    loaded = load_model(tmp_path / "model.safetensors")

    features = synthetic.features()
    before = probabilities(model, features, synthetic.TEST, threads=1)
    after = probabilities(loaded, features, synthetic.TEST, threads=1)
    assert before.tobytes() == after.tobytes()


def test_aligned_embeddings_are_unit_vectors_and_bring_pairs_together(tmp_path):
    trained = synthetic.run(tmp_path, "align", changes={"epochs": 20})
    save_model(trained.model, tmp_path / "model.safetensors")

    found = embeddings(
        load_model(tmp_path / "model.safetensors"),
        synthetic.features(),
        synthetic.TEST,
        threads=1,
    )

    cosines = found["image"] @ found["text"].T
    classes = synthetic.hidden_classes()[synthetic.TEST]
    nearest = classes[cosines.argmax(axis=1)]
    assert found["image"].shape == (40, 8)
    assert np.linalg.norm(found["text"], axis=1) == pytest.approx(1, abs=1e-5)
    assert (nearest == classes).mean() > 0.9


def test_regression_predicts_in_the_labels_unit(tmp_path):
    features = synthetic.features()
    weights = np.random.default_rng(0).normal(size=12)
    wanted = 500 + 40 * features["image.a"].array @ weights
    settings = RegressSettings(
        dataset="d", inputs=("image.a",), hidden=0, dropout=0, epochs=150, learning_rate=0.1
    )

    trained = train(
        settings,
        features,
        ValueTargets(values=wanted.astype(np.float64)),
        train_rows=synthetic.TRAIN,
        validation_rows=synthetic.VALIDATION,
        checkpoints=synthetic.Checkpoints(folder=tmp_path, key="key"),
        threads=1,
    )

    found = values(trained.model, features, synthetic.TEST, threads=1)
    error = np.abs(found - wanted[synthetic.TEST]).mean()
    assert error < 0.05 * wanted[synthetic.TRAIN].std()
    assert trained.metric == "mae"


def test_the_file_is_plain_safetensors_with_its_settings_inside(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(synthetic.run(tmp_path, "classify").model, path)

    size = struct.unpack("<Q", path.read_bytes()[:8])[0]
    header = json.loads(path.read_bytes()[8 : 8 + size])

    about = json.loads(header["__metadata__"]["sampan"])
    assert about["settings"]["task"] == "classify"
    assert "standardise.image:a.mean" in header


@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: b"\x80\x04pickle"])
def test_a_damaged_model_is_refused(damage, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(synthetic.run(tmp_path, "classify").model, path)
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(StorageError, match="no whole model"):
        load_model(path)


def test_no_rows_give_no_predictions(tmp_path):
    model = synthetic.run(tmp_path, "classify").model

    found = probabilities(model, synthetic.features(), np.arange(0), threads=1)

    assert found.shape == (0, 4)
