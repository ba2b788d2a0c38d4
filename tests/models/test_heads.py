import numpy as np
import pytest
import torch
from training import synthetic

from sampan.models.heads import AlignHead, FusionHead, drop
from sampan.models.standardise import learn_standardisation


@pytest.fixture
def learnt():
    return {
        name: learn_standardisation(stored, synthetic.TRAIN)
        for name, stored in synthetic.features().items()
    }


@pytest.fixture
def inputs():
    rows = synthetic.TEST
    return {n: torch.from_numpy(f.take(rows)) for n, f in synthetic.features().items()}


def test_without_hidden_units_the_head_is_linear_in_the_standardised_inputs(learnt, inputs):
    head = FusionHead(learnt, outputs=3, settings=synthetic.settings("classify", hidden=0))

    found = head(inputs, None)

    parts = [(inputs[name].numpy() - learnt[name].mean) / learnt[name].deviation for name in learnt]
    weight, bias = head.output.weight.detach().numpy(), head.output.bias.detach().numpy()
    expected = np.concatenate(parts, axis=1) @ weight.T + bias
    assert found.detach().numpy() == pytest.approx(expected, abs=1e-5)


def test_each_modality_has_one_embedding_whatever_its_number_of_encoders(learnt, inputs):
    head = AlignHead(learnt, settings=synthetic.settings("align"))

    found = head(inputs, None)

    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "image": (40, 8),
        "text": (40, 8),
    }


def test_modalities_may_bear_the_names_of_torch_attributes(learnt):
    renamed = dict(zip(("type.half", "type.float", "keys.items"), learnt.values(), strict=True))
    settings = synthetic.settings("align", inputs=tuple(renamed))

    assert AlignHead(renamed, settings=settings).modalities == ("type", "keys")


def test_the_temperature_starts_as_set_and_never_falls_below_a_hundredth(learnt):
    head = AlignHead(learnt, settings=synthetic.settings("align", temperature=0.2))
    assert head.scale.item() == pytest.approx(5)

    with torch.no_grad():
        head.log_scale.fill_(50)
    head.constrain()

    assert head.scale.item() == pytest.approx(100)


def test_dropout_is_a_pure_function_of_the_generators_seed():
    values = torch.ones(1000, 50)

    found = [drop(values, 0.4, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]

    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert found[0].mean().item() == pytest.approx(1, abs=0.02)
    assert (found[0] == 0).double().mean().item() == pytest.approx(0.4, abs=0.01)


def test_nothing_is_dropped_without_a_generator():
    values = torch.ones(5)

    assert torch.equal(drop(values, 0.9, None), values)
