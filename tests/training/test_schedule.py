import math

import pytest
import torch

from sampan.config.models import ClassifySettings
from sampan.training.sampling import num_batches
from sampan.training.schedule import learning_rate, length_of, optimiser


def rate(step):
    return learning_rate(step, steps=110, warmup_fraction=1 / 11, peak=0.4)


def settings(**given):
    return ClassifySettings(dataset="d", inputs=("a.b",), **given)


@pytest.mark.parametrize("samples", [1, 30, 144, 240, 1000, 5000, 8000])
def test_few_samples_get_a_thousand_steps_in_batches_that_an_epoch_has_some_of(samples):
    length = length_of(settings(), samples)

    batches = num_batches(samples, length.batch_size)
    assert batches * length.epochs >= 1000
    assert batches * (length.epochs - 1) < 1000 or length.epochs == 30
    assert batches >= 16 or length.batch_size == 32
    assert length.stop_after_epochs >= length.epochs / 3


@pytest.mark.parametrize("samples", [8449, 60_000, 10**6, 10**10])
def test_many_samples_get_30_epochs_of_batches_of_256_and_a_patience_of_10(samples):
    assert length_of(settings(), samples).of(settings()) == settings(
        epochs=30, batch_size=256, stop_after_epochs=10
    )


def test_a_length_that_is_given_is_taken_as_it_is():
    given = {"epochs": 3, "batch_size": 7, "stop_after_epochs": 2}

    assert length_of(settings(**given), 240).of(settings()) == settings(**given)


def test_the_rate_rises_linearly_to_its_peak():
    assert [rate(step) for step in (0, 4, 9)] == pytest.approx([0.04, 0.2, 0.4])


def test_the_rate_then_falls_as_a_cosine_to_zero():
    assert [rate(step) for step in (10, 60, 110)] == pytest.approx([0.4, 0.2, 0.0])
    assert rate(35) == pytest.approx(0.2 * (1 + math.cos(math.pi / 4)))


def test_without_a_warm_up_the_first_step_has_the_peak():
    assert learning_rate(0, steps=5, warmup_fraction=0, peak=1.0) == 1.0


def test_matrices_decay_by_rate_times_decay_and_biases_do_not():
    layer = torch.nn.Linear(2, 2)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.ones_(layer.bias)
    steps = optimiser(layer, weight_decay=0.5)
    for group in steps.param_groups:
        group["lr"] = 0.1
    (layer.weight.sum() * 0 + layer.bias.sum() * 0).backward()

    steps.step()

    assert layer.weight.flatten().tolist() == pytest.approx([0.95] * 4)
    assert layer.bias.tolist() == [1, 1]
