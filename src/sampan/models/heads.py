"""
Models on stored features: fusion heads and aligned projections.

Every random number comes from a generator that is handed in, so that a step can be repeated
exactly.
"""

import math
from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from sampan.config.models import AlignSettings, TrainSettings
from sampan.config.names import FeatureName
from sampan.models.losses import MAX_SCALE
from sampan.models.standardise import Standardisation

Inputs = Mapping[str, Tensor]
"""`modality.encoder` → (sample, embedding)."""


def drop(values: Tensor, rate: float, generator: Generator | None) -> Tensor:
    """Inverted dropout (Srivastava et al., JMLR 2014); none without a generator."""
    if generator is None or rate == 0:
        return values
    kept = torch.rand(values.shape, generator=generator, device=values.device) >= rate
    return values * kept / (1 - rate)


class Standardise(nn.Module):
    """(x - mean) / deviation, learnt beforehand and stored with the weights."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, learnt: Standardisation) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(learnt.mean.copy()))
        self.register_buffer("deviation", torch.from_numpy(learnt.deviation.copy()))

    def forward(self, values: Tensor) -> Tensor:
        # Here, as numpy takes 20 times as long from float16 as torch.
        return (values.float() - self.mean) / self.deviation


class Tower(nn.Module):
    """
    Some inputs, standardised → (sample, outputs).

    Each input has a projection of its own onto `hidden` units; these lie side by side (GELU,
    dropout), and one more linear layer maps them to the outputs. `depth` 2 puts another hidden
    layer between, in which inputs interact. Linear in the inputs where `hidden` is 0.
    """

    def __init__(
        self,
        inputs: Mapping[str, Standardisation],
        *,
        outputs: int,
        hidden: int,
        dropout: float,
        depth: int,
    ) -> None:
        super().__init__()
        self.names = tuple(inputs)
        self.dropout = dropout
        self.standardise = nn.ModuleDict(
            {_key(name): Standardise(learnt) for name, learnt in inputs.items()}
        )
        sizes = {name: len(learnt.mean) for name, learnt in inputs.items()}
        self.project = nn.ModuleDict(
            {_key(name): nn.Linear(size, hidden) for name, size in sizes.items()} if hidden else {}
        )
        width = hidden * len(inputs) if hidden else sum(sizes.values())
        self.fuse = nn.ModuleList()
        if hidden:
            for _ in range(depth - 1):
                self.fuse.append(nn.Linear(width, hidden))
                width = hidden
        self.output = nn.Linear(width, outputs)

    def forward(self, inputs: Inputs, generator: Generator | None) -> Tensor:
        parts = [self.standardise[_key(name)](inputs[name]) for name in self.names]
        if not self.project:
            return self._out(drop(torch.cat(parts, dim=1), self.dropout, generator))
        parts = [
            self.project[_key(name)](part) for name, part in zip(self.names, parts, strict=True)
        ]
        hidden = drop(functional.gelu(torch.cat(parts, dim=1)), self.dropout, generator)
        for layer in self.fuse:
            hidden = drop(functional.gelu(layer(hidden)), self.dropout, generator)
        return self._out(hidden)

    def _out(self, values: Tensor) -> Tensor:
        result: Tensor = self.output(values)
        return result


class FusionHead(Tower):
    """All inputs → logits of classes, or one standardised value."""

    def __init__(
        self, inputs: Mapping[str, Standardisation], *, outputs: int, settings: TrainSettings
    ) -> None:
        super().__init__(
            inputs,
            outputs=outputs,
            hidden=settings.hidden,
            dropout=settings.dropout,
            depth=2 if len(inputs) > 1 else 1,
        )


class AlignHead(nn.Module):
    """A tower for each modality, into one space of unit vectors; and the loss's parameters."""

    def __init__(self, inputs: Mapping[str, Standardisation], *, settings: AlignSettings) -> None:
        super().__init__()
        self.modalities = settings.modalities
        self.towers = nn.ModuleList(
            Tower(
                {n: s for n, s in inputs.items() if FeatureName.parse(n).modality == modality},
                outputs=settings.embedding,
                hidden=settings.hidden,
                dropout=settings.dropout,
                depth=1,
            )
            for modality in self.modalities
        )
        sigmoid = settings.loss == "siglip"
        temperature = settings.temperature or (0.1 if sigmoid else 0.07)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.bias = nn.Parameter(torch.tensor(-10.0)) if sigmoid else None

    @property
    def scale(self) -> Tensor:
        """The inverse temperature."""
        return self.log_scale.exp()

    @torch.no_grad()
    def constrain(self) -> None:
        """After each step: an inverse temperature above `MAX_SCALE` goes back to it, as in CLIP."""
        self.log_scale.clamp_(max=math.log(MAX_SCALE))

    def forward(self, inputs: Inputs, generator: Generator | None) -> dict[str, Tensor]:
        """Modality → (sample, embedding) of unit length."""
        return {
            modality: functional.normalize(tower(inputs, generator), dim=1)
            for modality, tower in zip(self.modalities, self.towers, strict=True)
        }


def _key(name: str) -> str:
    """torch refuses dots in the names of modules."""
    return name.replace(".", ":")
