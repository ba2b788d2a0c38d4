"""A trained model: everything that prediction needs, in one safetensors file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
import safetensors
import safetensors.torch
from pydantic import Field, TypeAdapter
from torch import nn

from sampan.errors import StorageError
from sampan.storage.durable import write_bytes
from sampan.storage.shape import check_of
from sampan.training.standardise import Standardisation
from sampan.training.tasks import Trainable, make_network

_SETTINGS: TypeAdapter[Trainable] = TypeAdapter(Annotated[Trainable, Field(discriminator="task")])


class ModelHeader(TypedDict):
    """In the metadata of `model.safetensors`."""

    settings: dict[str, Any]
    dimensions: dict[str, int]
    classes: list[str]
    target_mean: float
    target_deviation: float


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


def save_model(model: Model, path: Path, outbox: Path | None = None) -> None:
    """Write `path` whole or not at all; equal models give equal bytes."""
    about = {
        "settings": _SETTINGS.dump_python(model.settings, mode="json"),
        "dimensions": dict(model.dimensions),
        "classes": model.classes,
        "target_mean": model.target_mean,
        "target_deviation": model.target_deviation,
    }
    tensors = {n: t.detach().cpu().contiguous() for n, t in model.network.state_dict().items()}
    # One entry of metadata only: safetensors keeps several in no fixed order.
    metadata = {"sampan": json.dumps(about, sort_keys=True, allow_nan=False)}
    write_bytes(path, safetensors.torch.save(tensors, metadata), outbox)


def load_model(path: Path) -> Model:
    """The model in `path`, on the CPU; `StorageError` where it is no model of ours, or damaged."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["sampan"])
            if wrong := check_of(ModelHeader)(about):
                raise ValueError(wrong)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # no dict
        settings = _SETTINGS.validate_python(about["settings"])
        network = blank_network(settings, about["dimensions"], len(about["classes"]))
        network.load_state_dict(tensors)
    except (
        *(OSError, KeyError, TypeError, ValueError, RuntimeError, RecursionError),
        safetensors.SafetensorError,
    ) as fault:
        raise StorageError(f"{path}: no whole model: {fault}") from fault
    return Model(
        settings=settings,
        dimensions=about["dimensions"],
        network=network.eval(),
        classes=tuple(about["classes"]),
        target_mean=about["target_mean"],
        target_deviation=about["target_deviation"],
    )
