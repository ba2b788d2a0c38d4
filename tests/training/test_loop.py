import os
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from training import synthetic

from sampan.errors import DataError
from sampan.models.features import ArrayFeatures
from sampan.training.loop import Interruption
from sampan.training.predict import probabilities


@pytest.mark.parametrize(
    ("task", "moments"),
    [
        ("align", [("steps", "3"), ("fsyncs", "10"), ("steps", "7")]),
        ("classify", [("steps", "8")]),
    ],
)
def test_a_run_killed_again_and_again_gives_the_same_bits_as_one_left_alone(
    task, moments, tmp_path
):
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    killed.mkdir()
    alone.mkdir()
    for moment in moments:
        assert in_a_process(killed, task, *moment) == -9
    assert in_a_process(killed, task) == 0

    synthetic.save(synthetic.run(alone, task), alone)

    for name in ("model.safetensors", "trace.npy"):
        assert (killed / name).read_bytes() == (alone / name).read_bytes()


@pytest.mark.parametrize("step", [0, 1, 4, 5, 6, 29])
def test_a_stopped_run_goes_on_with_the_same_history(step, tmp_path):
    calls = iter(range(100))
    stopped = synthetic.run(tmp_path / "a", "align", stop=lambda: next(calls) == step)

    continued = synthetic.run(tmp_path / "a", "align")

    alone = synthetic.run(tmp_path / "b", "align")
    assert stopped == Interruption(step=step, steps=30)
    assert continued.trace.tolist() == alone.trace.tolist()
    assert continued.history == alone.history
    assert weights(continued).keys() == weights(alone).keys()
    assert all(torch.equal(weights(alone)[n], value) for n, value in weights(continued).items())


def test_a_finished_run_trains_no_more(tmp_path):
    first = synthetic.run(tmp_path, "classify")
    lines = []

    again = synthetic.run(tmp_path, "classify", log=lines.append)

    assert lines[0] == "goes on after step 30 of 30"
    assert not any(line.startswith("epoch") for line in lines)
    assert again.history == first.history


def test_features_stored_as_float16_train_as_the_same_numbers_in_float32(tmp_path):
    short = {name: stored.array.astype("f2") for name, stored in synthetic.features().items()}
    halves = {name: ArrayFeatures(array=array) for name, array in short.items()}
    singles = {name: ArrayFeatures(array=array.astype("f4")) for name, array in short.items()}

    trained = synthetic.run(tmp_path / "a", "align", features=halves)

    same = synthetic.run(tmp_path / "b", "align", features=singles)
    assert trained.trace.tolist() == same.trace.tolist()
    assert all(torch.equal(weights(same)[n], value) for n, value in weights(trained).items())


def test_separable_classes_are_learnt(tmp_path):
    trained = synthetic.run(tmp_path, "classify", changes={"epochs": 20})

    found = probabilities(trained.model, synthetic.features(), synthetic.TEST, threads=1)

    assert (found.argmax(axis=1) == synthetic.hidden_classes()[synthetic.TEST]).mean() == 1
    assert found.sum(axis=1) == pytest.approx(1)


def test_training_stops_when_validation_has_not_improved_for_long_enough(tmp_path):
    changes = {"epochs": 60, "stop_after_epochs": 3, "learning_rate": 0.1}

    trained = synthetic.run(tmp_path, "align", changes=changes, features=synthetic.features(3.0))

    losses = [line.validation_loss for line in trained.history]
    assert len(losses) == trained.best_epoch + 3 < 60
    assert losses[trained.best_epoch - 1] == min(losses)


def test_the_weights_of_the_best_epoch_are_kept(tmp_path):
    changes = {"epochs": 60, "stop_after_epochs": 3, "learning_rate": 0.1}
    noisy = synthetic.features(3.0)
    trained = synthetic.run(tmp_path / "a", "align", changes=changes, features=noisy)
    until = trained.history[trained.best_epoch - 1].steps
    calls = iter(range(10**6))

    synthetic.run(
        tmp_path / "b",
        "align",
        changes=changes,
        features=noisy,
        stop=lambda: next(calls) == until,
    )

    saved = synthetic.Checkpoints(folder=tmp_path / "b/checkpoints", key="key").latest()
    for name, value in weights(trained).items():
        assert torch.equal(saved.tensors[f"weights/{name}"], value)


@pytest.mark.parametrize(("epochs", "told"), [(2, True), (60, False)])
def test_where_the_last_epoch_was_the_best_the_log_says_that_more_may_help(epochs, told, tmp_path):
    lines = []
    changes = {"epochs": epochs, "stop_after_epochs": 3, "learning_rate": 0.01 if told else 0.1}

    trained = synthetic.run(tmp_path, "classify", changes=changes, log=lines.append)

    said = "the last epoch, 2, was the best: trained longer it may get better; set epochs: 4"
    assert (trained.best_epoch == epochs) is told
    assert (said in lines) is told


def test_training_never_looks_at_test_rows(tmp_path):
    spoilt = {}
    for name, stored in synthetic.features().items():
        array = stored.array.copy()
        array[synthetic.TEST] = np.nan
        spoilt[name] = ArrayFeatures(array=array)

    trained = synthetic.run(tmp_path / "a", "classify", features=spoilt)

    assert trained.history == synthetic.run(tmp_path / "b", "classify").history


def test_standardisation_is_learnt_on_training_rows_only(tmp_path):
    trained = synthetic.run(tmp_path, "classify")

    for name, stored in synthetic.features().items():
        learnt = weights(trained)[f"standardise.{name.replace('.', ':')}.mean"]
        assert learnt.numpy() == pytest.approx(stored.array[synthetic.TRAIN].mean(axis=0), abs=1e-6)


def test_the_history_tells_the_mean_loss_of_each_epochs_steps(tmp_path):
    trained = synthetic.run(tmp_path, "classify")

    for number, line in enumerate(trained.history):
        assert line.train_loss == pytest.approx(trained.trace[5 * number : 5 * number + 5].mean())
        assert asdict(line)["steps"] == 5 * number + 5


def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_change(tmp_path):
    with pytest.raises(DataError, match="set learning_rate below 1e\\+30"):
        synthetic.run(tmp_path, "classify", changes={"learning_rate": 1e30})


def test_a_split_without_validation_samples_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "VALIDATION", np.arange(0))

    with pytest.raises(DataError, match="160 training and 0 validation samples"):
        synthetic.run(tmp_path, "classify")


def test_checkpoints_of_other_settings_are_refused(tmp_path):
    synthetic.run(tmp_path, "classify", key="old")

    with pytest.raises(DataError, match="key old, wanted new"):
        synthetic.run(tmp_path, "classify", key="new")


def test_settings_of_torch_are_as_before_after_training(tmp_path):
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state = torch.random.get_rng_state()

    synthetic.run(tmp_path, "classify")

    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.equal(torch.random.get_rng_state(), state)


def weights(trained):
    return trained.model.network.state_dict()


def in_a_process(folder, task, *kill):
    command = [sys.executable, synthetic.__file__, str(folder), task, *kill]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(command, env=environment, timeout=120).returncode
