"""Encoders of the transformers library, from a local folder."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Gt

from sampan.encoders.pixels import Pixels, image_faults, image_processor
from sampan.encoders.rows import texts
from sampan.encoders.sounds import Sounds, feature_extractor, least_samples, sound_faults
from sampan.encoders.tokens import Tokens, most_tokens, tokenizer_of
from sampan.encoders.towers import OUTPUTS, Tower, kinds_of, part_of, skeleton, tower_of
from sampan.encoders.weights import refuse_other, refuse_unsafe
from sampan.errors import ConfigError, PluginError, SampanError
from sampan.plugins import Encode, Modality

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

KINDS = {("y", "x", "channel"): "image", ("byte",): "text", ("time",): "audio"}


@dataclass(frozen=True, kw_only=True)
class Transformers:
    """
    Any image, text or audio encoder that transformers' `AutoModel` knows.

    The folder's own processor or tokenizer decides size, normalisation, rate and tokens; a modality
    that was stored otherwise is refused. Of a model with several towers (CLIP, SigLIP, CLAP) only
    the one that the modality needs is kept. Weights are safetensors, read from the folder alone;
    code in it is never run.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    kinds: ClassVar[tuple[str, ...]] = ("image", "text", "audio")
    workers: ClassVar[Literal["processes", "one"]] = "one"

    path: Path = field(metadata={"identity": False})
    """Folder with config.json, *.safetensors and the model's own processor or tokenizer."""
    digest: str
    """SHA-256 over all files that are read from the folder, in 64 hexadecimal digits."""
    output: Literal["projection", "pooled", "cls", "mean"]
    """What to take: `projection` into the space that a model's towers share, its own `pooled`
    output, the class token (`cls`), or the `mean` over tokens, patches or frames
    (without padding)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the model's arithmetic; weights and embeddings are float32 in both."""
    batch: Annotated[int, Gt(0)] = field(default=32, metadata={"identity": False})
    """Rows in a batch at most."""
    memory_mb: Annotated[int, Gt(0)] = field(default=4096, metadata={"identity": False})
    """Memory that model and one batch take, in MB."""

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.digest):
            raise ValueError(
                f"digest: {self.digest!r} is not a SHA-256 in 64 hexadecimal digits (0-9, a-f)"
            )

    def memory_bytes(self) -> int:
        return self.memory_mb * 1_000_000

    def check(self, modality: Modality) -> list[str]:
        """As every encoder; reads config, processor and tokenizer, no weights."""
        try:
            refuse_unsafe(self.path)
            return self._faults(modality, skeleton(self.path))
        except SampanError as fault:
            return list(fault.faults)

    def load(self, modality: Modality, device: str) -> Encode:
        """
        Check the digest, read the weights, and encode one blank row.

        `ConfigError` for weights, outputs or a modality that do not fit, `PluginError` for a
        `device` of `cuda` that torch cannot use.
        """
        refuse_unsafe(self.path)
        refuse_other(self.path, self.digest)
        _refuse_missing_gpu(device)
        model = skeleton(self.path)
        if faults := self._faults(modality, model):
            raise ConfigError(faults)
        kind = _kind(modality)
        tokenizer = tokenizer_of(self.path) if kind == "text" else None
        tower = tower_of(
            self.path,
            kind,
            device,
            self.output,
            class_token=tokenizer is not None and tokenizer.cls_token_id is not None,
        )
        encode = _Transformers(
            tower=tower,
            inputs=self._inputs(kind, tokenizer, tower, device),
            output=self.output,
            dtype=self.dtype,
            device=device,
        )
        encode.dimensions = self._dimensions(encode, modality, model.config.model_type)
        return encode

    def _faults(self, modality: Modality, model: Any) -> list[str]:
        kind, name = _kind(modality), model.config.model_type
        if kind not in kinds_of(model):
            takes = " or ".join(kinds_of(model)) or "nothing that is stored"
            return [f"{name} takes {takes}, this modality is {kind}"]
        part = part_of(model, kind)
        if kind == "image":
            channels = getattr(part.config, "num_channels", 3)
            return image_faults(image_processor(self.path), modality, name, channels)
        if kind == "audio":
            least = least_samples(part.config)
            return sound_faults(feature_extractor(self.path), modality, name, least)
        tokenizer_of(self.path)
        return []

    def _inputs(self, kind: str, tokenizer: Any, tower: Tower, device: str) -> Any:
        if kind == "image":
            return Pixels(processor=image_processor(self.path), device=device)
        if kind == "audio":
            extractor = feature_extractor(self.path)
            return Sounds(extractor=extractor, tower=tower.module, device=device)
        return Tokens(
            tokenizer=tokenizer,
            most=most_tokens(self.path, tokenizer, tower.module),
            pad_to_most=tower.module.config.model_type.startswith("siglip"),
            device=device,
        )

    def _dimensions(self, encode: "_Transformers", modality: Modality, name: str) -> int:
        import numpy as np

        spec = modality.array()
        blank = np.full((1, *spec.shape), ord("a") if _kind(modality) == "text" else 0, spec.dtype)
        length = np.ones(1, np.int32) if _kind(modality) == "text" else None
        found = encode.outputs(blank, length)
        if self.output in found:
            return found[self.output]
        raise ConfigError(
            f"{self.path}: {name} has no output: {self.output} for {_kind(modality)}; "
            f"there are: {', '.join(found)}"
        )


@dataclass(kw_only=True)
class _Transformers:
    tower: Tower
    inputs: Any
    output: str
    dtype: str
    device: str
    dimensions: int = 0

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.float32]":
        import numpy as np
        import torch

        with torch.inference_mode(), self._precision():
            parts = [
                self.tower.read(self.output, inputs, mask)
                for inputs, mask in self._made(data, length)
            ]
        return np.concatenate([part.cpu().numpy() for part in parts if part is not None])

    def outputs(self, data: "NDArray[Any]", length: "NDArray[np.int32] | None") -> dict[str, int]:
        """Outputs that the architecture has, and the length of their embeddings."""
        import torch

        with torch.inference_mode(), self._precision():
            ((inputs, mask),) = self._made(data, length)
            read = {name: self.tower.read(name, inputs, mask) for name in OUTPUTS}
        return {name: found.shape[1] for name, found in read.items() if found is not None}

    def _made(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "Iterator[tuple[dict[str, torch.Tensor], torch.Tensor | None]]":
        if isinstance(self.inputs, Pixels):
            yield self.inputs(data), None
        elif isinstance(self.inputs, Tokens):
            yield self.inputs(texts(data, length))
        else:
            yield from self.inputs(data, length)

    def _precision(self) -> "torch.autocast":
        import torch

        return torch.autocast(self.device, torch.bfloat16, enabled=self.dtype == "bfloat16")


def _kind(modality: Modality) -> str:
    dims = modality.array().dims
    return KINDS.get(dims, f"({', '.join(dims)})")


def _refuse_missing_gpu(device: str) -> None:
    import torch

    if device != "cuda":
        return
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as fault:
        reason = str(fault).strip().splitlines()[0]
        raise PluginError(
            f"this job was granted a GPU that torch {torch.__version__} cannot use: {reason}"
        ) from fault
