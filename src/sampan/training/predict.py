"""What a trained model says about rows."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sampan.models.features import Features
from sampan.models.model import Model
from sampan.training.feed import BatchFeed
from sampan.training.reproducible import reproducible

BATCH = 1024


def probabilities(
    model: Model,
    features: Mapping[str, Features],
    rows: NDArray[np.int64],
    *,
    threads: int,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """(sample, class) probability of each of `model.classes`: the softmax of the logits."""
    found = _batches(model, features, rows, threads, device, lambda out: torch.softmax(out, dim=1))
    return np.concatenate([np.empty((0, len(model.classes)), dtype=np.float32), *found])


def values(
    model: Model,
    features: Mapping[str, Features],
    rows: NDArray[np.int64],
    *,
    threads: int,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """(sample) predicted numbers, in the label's unit."""
    found = _batches(model, features, rows, threads, device, lambda out: out[:, 0])
    scaled = np.concatenate([np.empty(0, dtype=np.float32), *found])
    return scaled.astype(np.float64) * model.target_deviation + model.target_mean


def embeddings(
    model: Model,
    features: Mapping[str, Features],
    rows: NDArray[np.int64],
    *,
    threads: int,
    device: str = "cpu",
) -> dict[str, NDArray[np.float32]]:
    """Modality → (sample, embedding), unit vectors in the shared space."""
    names = model.settings.modalities
    found = _batches(
        model, features, rows, threads, device, lambda out: torch.stack([out[n] for n in names])
    )
    size = getattr(model.settings, "embedding", 0)
    stacked = np.concatenate([np.empty((len(names), 0, size), dtype=np.float32), *found], axis=1)
    return dict(zip(names, stacked, strict=True))


@torch.no_grad()
def _batches(
    model: Model,
    features: Mapping[str, Features],
    rows: NDArray[np.int64],
    threads: int,
    device: str,
    finish: Callable[..., Tensor],
) -> Iterator[NDArray[np.float32]]:
    with reproducible(threads=threads, device=device):
        network = model.network.to(device)
        used = {name: features[name] for name in model.settings.inputs}
        cut = (rows[first : first + BATCH] for first in range(0, len(rows), BATCH))
        with BatchFeed(used, cut, device=device) as feed:
            for _, inputs in feed:
                yield finish(network(inputs, None)).cpu().numpy()
