import math

import pytest
import torch

from sampan.training.schedule import learning_rate, optimiser


def rate(step):
    return learning_rate(step, steps=110, warmup_fraction=1 / 11, peak=0.4)


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
