"""Stored rows → what a model takes, by the model's own processor, extractor or tokenizer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sampan.encoders.pretrained.architecture import build_architecture
from sampan.encoders.pretrained.backbone import kinds_of, part_of
from sampan.encoders.pretrained.pixels import (
    Pixels,
    image_faults,
    image_processor,
    picture_settings,
    size_faults,
)
from sampan.encoders.pretrained.sentence import sentence_of
from sampan.encoders.pretrained.sounds import Sounds, feature_extractor, least_samples, sound_faults
from sampan.encoders.pretrained.tokens import Tokens, most_tokens, tokenizer_of, vocabulary_faults
from sampan.encoders.pretrained.transfer import Transfer
from sampan.encoders.rows import texts
from sampan.errors import ConfigError
from sampan.plugins import Modality

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

LARGEST_DECODING: dict[str, dict[str, Any]] = {
    "image": {"height": 1024, "width": 1024, "fit": "crop", "channels": 3},
    "audio": {"rate_hz": 48_000},
}
"""What a folder's processor decides of a modality that is not stored; sizes at their largest."""
ROW_OVERHEAD = 8
"""Elements that a padded row costs beside its length: its ends, its part of every call."""
KINDS = {("y", "x", "channel"): "image", ("byte",): "text", ("time",): "audio"}


def kind_of(modality: Modality) -> str:
    dims = modality.array().dims
    return KINDS.get(dims, f"({', '.join(dims)})")


def modality_faults(path: Path, modality: Modality, model: Any) -> list[str]:
    """Why a modality stored like this cannot serve a model; reads no weights."""
    kind, name = kind_of(modality), model.config.model_type
    if kind not in kinds_of(model):
        takes = " or ".join(kinds_of(model)) or "nothing that is stored"
        return [f"{name} takes {takes}, this modality is {kind}"]
    if faults := fit_faults(path, model, kind):
        return faults
    part = part_of(model, kind)
    if kind == "image":
        channels = getattr(part.config, "num_channels", 3)
        return image_faults(image_processor(path), modality, name, channels)
    if kind == "audio":
        return sound_faults(feature_extractor(path), modality, name, least_samples(part.config))
    return []


def fit_faults(path: Path, model: Any, kind: str) -> list[str]:
    """Why a folder's processor or tokenizer does not fit its model; reads no weights."""
    part, name = part_of(model, kind), model.config.model_type
    if kind == "image":
        return size_faults(path, image_processor(path), part, name)
    if kind == "audio":
        feature_extractor(path)
        return []
    tokenizer = tokenizer_of(path)
    most_tokens(path, tokenizer, part)
    return vocabulary_faults(path, tokenizer, part, name)


def decoding_settings(path: Path, kind: str) -> dict[str, Any]:
    """How a modality has to be decoded for a folder's model; reads no weights."""
    if kind == "audio":
        return {"rate_hz": int(feature_extractor(path).sampling_rate)}
    model = build_architecture(path)
    if kind not in kinds_of(model):
        raise ConfigError(f"{path}: {model.config.model_type} takes no {kind}")
    channels = getattr(part_of(model, kind).config, "num_channels", 3)
    return picture_settings(image_processor(path), model.config.model_type, channels)


def blank(modality: Modality) -> "tuple[NDArray[Any], NDArray[np.int32] | None]":
    """One row that every encoder of its kind takes: black, silent, or the text "a"."""
    import numpy as np

    spec = modality.array()
    if kind_of(modality) == "text":
        return np.full((1, *spec.shape), ord("a"), spec.dtype), np.ones(1, np.int32)
    return np.zeros((1, *spec.shape), spec.dtype), None


def longest(modality: Modality, rows: int) -> "tuple[NDArray[Any], NDArray[np.int32] | None]":
    """Rows that cost as much as any can: black, silent, or texts of words of one letter."""
    import numpy as np

    spec = modality.array()
    data = np.zeros((rows, *spec.shape), spec.dtype)
    kind = kind_of(modality)
    if kind == "text":
        data[:, 0::2], data[:, 1::2] = ord("a"), ord(" ")
    return data, np.full(rows, spec.shape[0], np.int32) if kind in ("text", "audio") else None


class Inputs(Protocol):
    """
    Rows and lengths as stored → batches of what the model takes, and which of its tokens or frames
    are none of the padding (None where it has no padding); on the device that encodes.
    """

    @property
    def pads(self) -> bool:
        """Whether a batch is as long as its longest row."""
        ...

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "Iterator[tuple[dict[str, torch.Tensor], torch.Tensor | None]]": ...


@dataclass(frozen=True, kw_only=True)
class PictureInputs:
    made_by: Pixels
    pads: ClassVar[bool] = False

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "Iterator[tuple[dict[str, torch.Tensor], torch.Tensor | None]]":
        yield self.made_by(data), None


@dataclass(frozen=True, kw_only=True)
class SoundInputs:
    made_by: Sounds
    transfer: Transfer

    @property
    def pads(self) -> bool:
        return self.made_by.pads

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "Iterator[tuple[dict[str, torch.Tensor], torch.Tensor | None]]":
        for made, mask in self.made_by(data, length):
            yield _sent(self.transfer, made, mask)


@dataclass(frozen=True, kw_only=True)
class TextInputs:
    """Of texts as they are stored, or of what `prepare` made of them."""

    made_by: Tokens
    transfer: Transfer

    @property
    def pads(self) -> bool:
        return self.made_by.pads

    def prepare(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "tuple[NDArray[Any], NDArray[np.int32]]":
        """Texts → their tokens, and how many."""
        return self.made_by.split(texts(data, length))

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "Iterator[tuple[dict[str, torch.Tensor], torch.Tensor | None]]":
        if data.ndim == 2 or length is None:
            data, length = self.prepare(data, length)
        yield _sent(self.transfer, *self.made_by.padded(data, length))


def _sent(
    transfer: Transfer, made: "dict[str, torch.Tensor]", mask: "torch.Tensor | None"
) -> "tuple[dict[str, torch.Tensor], torch.Tensor | None]":
    sent = {name: transfer.send(values) for name, values in made.items()}
    return sent, None if mask is None else transfer.send(mask)


def make_inputs(
    path: Path, kind: str, module: Any, transfer: Transfer, *, num_tokens: int | None = None
) -> Inputs:
    """
    The input of `module`, the part of the folder's model that encodes `kind`.

    `num_tokens` is the length of every text where the model takes no other.
    """
    if kind == "image":
        return PictureInputs(made_by=Pixels(processor=image_processor(path), transfer=transfer))
    if kind == "audio":
        extractor = feature_extractor(path)
        return SoundInputs(made_by=Sounds(extractor=extractor, module=module), transfer=transfer)
    tokenizer, sentence = tokenizer_of(path), sentence_of(path)
    most = most_tokens(path, tokenizer, module)
    return TextInputs(
        made_by=Tokens(
            tokenizer=tokenizer,
            most=most if num_tokens is None else min(most or num_tokens, num_tokens),
            pad_to_most=num_tokens is not None or module.config.model_type.startswith("siglip"),
            prompt=sentence.prompt if sentence else "",
        ),
        transfer=transfer,
    )
