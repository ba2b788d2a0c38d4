"""A trained model: everything that prediction needs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from sampan.models.standardise import Standardisation
from sampan.models.tasks import Trainable, make_network


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network with what its numbers mean."""

    settings: Trainable
    dimensions: Mapping[str, int]
    """`modality.encoder` → length of its embeddings."""
    network: nn.Module
    """Weights, and the mean and deviation of each input."""
    classes: tuple[str, ...] = ()
    """What the logits stand for (classify)."""
    target_mean: float = 0.0
    """Of the training samples, in the label's unit (regress)."""
    target_deviation: float = 1.0
    """Of the training samples, in the label's unit (regress)."""


def blank_network(
    settings: Trainable, dimensions: Mapping[str, int], num_classes: int
) -> nn.Module:
    """A network of the right shape, whose weights and standardisation are yet to be loaded."""
    inputs = {
        name: Standardisation(
            mean=np.zeros(size, dtype=np.float32), deviation=np.ones(size, dtype=np.float32)
        )
        for name, size in ((name, dimensions[name]) for name in settings.inputs)
    }
    return make_network(settings, inputs, num_classes)
