"""What the loop asks of a task: a network for it, and the loss and metric of a batch."""

from collections.abc import Mapping
from itertools import permutations
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

from sampan.config.models import AlignSettings, ClassifySettings, RegressSettings
from sampan.models.features import Rows
from sampan.models.heads import AlignHead, FusionHead, Inputs
from sampan.models.losses import contrastive, same_content
from sampan.models.standardise import Standardisation
from sampan.models.targets import ClassTargets, ContentTargets, Targets, ValueTargets

FARTHEST = 1e15
"""Deviations from the mean that a target counts as at most, so that its square fits a float32."""
SQUARES = (1e-100, 1e100)
"""Between these the square of a float is no 0 and no infinity."""

Trainable = ClassifySettings | RegressSettings | AlignSettings


class BatchScore(NamedTuple):
    """Means over the samples of a batch, each a tensor of one number."""

    loss: Tensor
    metric: Tensor


class Task(Protocol):
    """`metric` names what is reported beside the loss."""

    metric: str

    def __call__(
        self,
        network: nn.Module,
        inputs: Inputs,
        rows: NDArray[np.int64],
        generator: Generator | None,
    ) -> BatchScore: ...


class Classify:
    """Cross entropy, smoothed as in Szegedy et al., arXiv:1512.00567, section 7; accuracy."""

    metric = "accuracy"

    def __init__(self, settings: ClassifySettings, targets: ClassTargets) -> None:
        self.settings, self.targets = settings, targets

    def __call__(
        self,
        network: nn.Module,
        inputs: Inputs,
        rows: NDArray[np.int64],
        generator: Generator | None,
    ) -> BatchScore:
        logits: Tensor = network(inputs, generator)
        target = torch.from_numpy(self.targets.codes[rows]).long().to(logits.device)
        loss = functional.cross_entropy(
            logits, target, label_smoothing=self.settings.label_smoothing
        )
        return BatchScore(loss, (logits.argmax(dim=1) == target).double().mean())


class Regress:
    """Mean square error of the standardised target; mean absolute error in the label's unit."""

    metric = "mae"

    def __init__(self, targets: ValueTargets, train_rows: Rows) -> None:
        self.targets = targets
        self.mean, self.deviation = target_scale(targets, train_rows)

    def __call__(
        self,
        network: nn.Module,
        inputs: Inputs,
        rows: NDArray[np.int64],
        generator: Generator | None,
    ) -> BatchScore:
        found: Tensor = network(inputs, generator)[:, 0]
        scaled = (self.targets.values[rows] - self.mean) / self.deviation
        scaled = np.clip(scaled, -FARTHEST, FARTHEST)
        target = torch.from_numpy(scaled.astype(np.float32)).to(found.device)
        error = (found - target).abs().double().mean() * self.deviation
        return BatchScore(functional.mse_loss(found, target), error)


class Align:
    """`losses.contrastive`; how often the own counterpart is the nearest in the batch."""

    metric = "batch_recall_at_1"

    def __init__(self, targets: ContentTargets) -> None:
        self.targets = targets

    def __call__(
        self,
        network: nn.Module,
        inputs: Inputs,
        rows: NDArray[np.int64],
        generator: Generator | None,
    ) -> BatchScore:
        assert isinstance(network, AlignHead)
        embeddings = network(inputs, generator)
        contents = {
            modality: torch.from_numpy(self.targets.contents[modality][rows]).to(found.device)
            for modality, found in embeddings.items()
        }
        loss = contrastive(embeddings, contents, scale=network.scale, bias=network.bias)
        return BatchScore(loss, _nearest(embeddings, contents))


@torch.no_grad()
def _nearest(embeddings: Mapping[str, Tensor], contents: Mapping[str, Tensor]) -> Tensor:
    shares = []
    for one, other in permutations(embeddings, 2):
        ignored = same_content(contents[one], contents[other])
        scores = (embeddings[one] @ embeddings[other].T).masked_fill(ignored, -torch.inf)
        own = torch.arange(len(scores), device=scores.device)
        shares.append((scores.argmax(dim=1) == own).double().mean())
    return torch.stack(shares).mean()


def target_scale(targets: ValueTargets, rows: Rows) -> tuple[float, float]:
    """
    Mean and deviation of the training targets; the deviation is 1 where they are all equal.

    Numbers whose squares no float can hold are divided by the largest first.
    """
    values = targets.values[rows]
    if values.min() == values.max():
        return float(values[0]), 1.0
    largest = float(np.abs(values).max())
    scale = 1.0 if SQUARES[0] < largest < SQUARES[1] else largest
    scaled = values / scale
    return float(scaled.mean()) * scale, (float(scaled.std()) * scale) or 1.0


def make_task(settings: Trainable, targets: Targets, train_rows: Rows) -> Task:
    """The task of the settings; a `TypeError` where the targets are those of another one."""
    match settings, targets:
        case ClassifySettings(), ClassTargets():
            return Classify(settings, targets)
        case RegressSettings(), ValueTargets():
            return Regress(targets, train_rows)
        case AlignSettings(), ContentTargets():
            return Align(targets)
    raise TypeError(f"{settings.task} cannot be trained on {type(targets).__name__}")


def make_network(
    settings: Trainable, inputs: Mapping[str, Standardisation], num_classes: int
) -> nn.Module:
    """The network of the settings, with weights from torch's generator."""
    if isinstance(settings, AlignSettings):
        return AlignHead(inputs, settings=settings)
    outputs = num_classes if isinstance(settings, ClassifySettings) else 1
    return FusionHead(inputs, outputs=outputs, settings=settings)
