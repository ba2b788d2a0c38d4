"""Length of a run, learning rate and weight decay."""

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import nn

from sampan.config.models import TrainSettings
from sampan.training.sampling import num_batches

Settings = TypeVar("Settings", bound=TrainSettings)
LARGEST_BATCH, SMALLEST_BATCH = 256, 32
BATCHES = 16
"""That an epoch has at least, as long as they are not too small."""
LEAST_EPOCHS, LEAST_PATIENCE = 30, 10
LEAST_STEPS = 1000


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long a run is, in numbers."""

    epochs: int
    batch_size: int
    stop_after_epochs: int

    def of(self, settings: Settings) -> Settings:
        """The settings with these numbers in place of `auto`."""
        return replace(
            settings,
            epochs=self.epochs,
            batch_size=self.batch_size,
            stop_after_epochs=self.stop_after_epochs,
        )


def length_of(settings: TrainSettings, samples: int) -> Length:
    """
    The run's length for a number of training samples; what is given is taken as it is.

    From 8,449 samples on these are 30 epochs in batches of 256. Fewer samples would make few steps
    of that: they get more epochs and, below 4,096, smaller batches.
    """
    batch_size = LARGEST_BATCH
    while batch_size > SMALLEST_BATCH and samples < BATCHES * batch_size:
        batch_size //= 2
    if settings.batch_size != "auto":
        batch_size = settings.batch_size
    steps = max(1, num_batches(samples, batch_size))
    epochs = max(LEAST_EPOCHS, -(-LEAST_STEPS // steps))
    if settings.epochs != "auto":
        epochs = settings.epochs
    patience = max(LEAST_PATIENCE, -(-epochs // 3))
    if settings.stop_after_epochs != "auto":
        patience = settings.stop_after_epochs
    return Length(epochs=epochs, batch_size=batch_size, stop_after_epochs=patience)


def learning_rate(step: int, *, steps: int, warmup_fraction: float, peak: float) -> float:
    """
    Linear warm-up to `peak`, then a cosine to 0.

    `step` counts from 0; the rate is `peak` at the last step of the warm-up (the first step where
    there is none) and would be 0 at `steps`. Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5,
    without restarts; warm-up as in Goyal et al., arXiv:1706.02677, section 2.2.
    """
    warmup = int(steps * warmup_fraction)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def optimiser(model: nn.Module, *, weight_decay: float) -> torch.optim.AdamW:
    """
    AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2).

    Matrices decay; biases, temperatures and other vectors do not.
    """
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        foreach=False,
    )
