"""Encoders of the transformers library, from a local folder."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sampan.encoders.pretrained.architecture import build_architecture, shape_faults
from sampan.encoders.pretrained.backbone import (
    OUTPUTS,
    Backbone,
    load_backbone,
    no_output,
    reads_encoder_alone,
)
from sampan.encoders.pretrained.compiling import compile_module, compiling, of_any_size
from sampan.encoders.pretrained.inputs import (
    LARGEST_DECODING,
    ROW_OVERHEAD,
    Inputs,
    TextInputs,
    blank,
    decoding_settings,
    kind_of,
    make_inputs,
    modality_faults,
)
from sampan.encoders.pretrained.precision import round_weights
from sampan.encoders.pretrained.sentence import refuse_other_output
from sampan.encoders.pretrained.transfer import Transfer, transfer_to
from sampan.errors import ConfigError, PluginError, SampanError
from sampan.plugins import Device, Encode, Modality, PendingEmbeddings
from sampan.weights.digests import check_digest, refuse_other
from sampan.weights.folder import refuse_unsafe

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

log = logging.getLogger("sampan")


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
    devices: ClassVar[tuple[Device, ...]] = ("cpu", "cuda")

    path: Path = field(metadata={"identity": False})
    """Folder with config.json, *.safetensors and the model's own processor or tokenizer."""
    digest: str
    """SHA-256 over all files that are read from the folder, in 64 hexadecimal digits."""
    output: Literal["projection", "pooled", "cls", "mean", "sentence"]
    """What to take: `projection` into the space that a model's towers share, its own `pooled`
    output, the class token (`cls`), the `mean` over tokens, patches or frames (without padding), or
    the `sentence` embedding that the modules.json of sentence-transformers makes."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of matrix products and convolutions. With `bfloat16` their weights are rounded to
    it once, at the start; norms, softmax, and the sums that run from layer to layer stay float32,
    as in `torch.autocast`. Embeddings are float32 in both."""
    compile: bool = field(default=False, metadata={"identity": False})
    """Whether `torch.compile` makes one program of the model's layers, for batches of any size. It
    takes about a minute in each process and needs a C++ compiler in the job. It pays in long jobs
    on a GPU, most with `bfloat16`; on the CPU seldom."""
    batch: Annotated[int, Interval(gt=0, le=1 << 20)] | Literal["auto"] = field(
        default="auto", metadata={"identity": False}
    )
    """Rows in a batch at most. `auto`: 32 on the CPU; on a GPU as many as fit in its memory, up to
    1,024 (found at the start, in powers of two, and no more than make it faster)."""
    memory_mb: Annotated[int, Interval(gt=0, le=10_000_000)] = field(
        default=4096, metadata={"identity": False}
    )
    """Memory that model and one batch take, in MB."""

    def __post_init__(self) -> None:
        check_digest(self.digest)

    def memory_bytes(self) -> int:
        return self.memory_mb * 1_000_000

    @classmethod
    def largest_decoding(cls, kind: str) -> Mapping[str, Any]:
        return LARGEST_DECODING.get(kind, {})

    def decoding(self, kind: str) -> Mapping[str, Any]:
        """As every encoder; reads config and processor, no weights."""
        refuse_unsafe(self.path)
        return decoding_settings(self.path, kind)

    def check(self, modality: Modality) -> list[str]:
        """As every encoder; reads config, processor and tokenizer, no weights."""
        try:
            refuse_unsafe(self.path)
            model = build_architecture(self.path)
            refuse_other_output(self.path, kind_of(modality), self.output, model)
            return shape_faults(self.path, model) or modality_faults(self.path, modality, model)
        except SampanError as fault:
            return list(fault.faults)

    def load(self, modality: Modality, device: str) -> Encode:
        """
        Check the digest, read the weights, and encode one blank row.

        `ConfigError` for weights, outputs or a modality that do not fit, `PluginError` for a
        `device` of `cuda` that torch cannot use, and for `compile` where nothing can compile.
        """
        refuse_unsafe(self.path)
        refuse_other(self.path, self.digest)
        _refuse_missing_gpu(device)
        model = build_architecture(self.path)
        kind, transfer = kind_of(modality), transfer_to(device)
        refuse_other_output(self.path, kind, self.output, model)
        faults = shape_faults(self.path, model) or modality_faults(self.path, modality, model)
        if faults:
            raise ConfigError(faults)
        if reads_encoder_alone(model):
            log.info("%s: %s: its encoder alone is read", self.path, model.config.model_type)
        backbone = load_backbone(self.path, kind, device, self.output)
        if self.dtype == "bfloat16":
            round_weights(backbone.whole)
        inputs = make_inputs(self.path, kind, backbone.module, transfer)
        encode = _class_for(inputs)(
            backbone=backbone,
            inputs=inputs,
            output=self.output,
            dtype=self.dtype,
            device=device,
            transfer=transfer,
        )
        with _told(self.path, model.config.model_type):
            found = encode.outputs(*blank(modality))
        if self.output not in found:
            raise no_output(self.path, model.config.model_type, self.output, kind, found)
        encode.dimensions = found[self.output]
        if self.compile:
            compile_module(backbone.module, device)
            encode.compiled = True
        return encode


@dataclass(kw_only=True)
class _Transformers:
    backbone: Backbone
    inputs: Inputs
    output: str
    dtype: str
    device: str
    transfer: Transfer
    dimensions: int = 0
    compiled: bool = False

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.float32]":
        return self.begin(data, length)()

    def begin(self, data: "NDArray[Any]", length: "NDArray[np.int32] | None") -> PendingEmbeddings:
        """As every encoder; on a GPU it comes back once all is queued."""
        import torch

        with torch.inference_mode(), self._precision():
            parts = list(self.inputs(data, length))
            return self.transfer.fetch(lambda: torch.cat([self._read(*part) for part in parts]))

    def _read(
        self, inputs: "dict[str, torch.Tensor]", mask: "torch.Tensor | None"
    ) -> "torch.Tensor":
        read = self._compiled if self.compiled else self.backbone.read
        found = read(self.output, inputs, mask)
        assert found is not None  # an output that is not there was refused
        return found

    def _compiled(
        self, output: str, inputs: "dict[str, torch.Tensor]", mask: "torch.Tensor | None"
    ) -> "torch.Tensor | None":
        import torch

        rows = len(next(iter(inputs.values())))
        if rows == 1:  # torch would make another program of a single row
            inputs = {name: torch.cat([values, values]) for name, values in inputs.items()}
            mask = None if mask is None else torch.cat([mask, mask])
        of_any_size(inputs.values(), by_length=self.inputs.pads)
        with compiling():
            found = self.backbone.read(output, inputs, mask)
        return None if found is None else found[:rows]

    def outputs(self, data: "NDArray[Any]", length: "NDArray[np.int32] | None") -> dict[str, int]:
        """Outputs that the architecture has, and the length of their embeddings."""
        import torch

        with torch.inference_mode(), self._precision():
            ((inputs, mask),) = self.inputs(data, length)
            read = {name: self.backbone.read(name, inputs, mask) for name in OUTPUTS}
        return {name: found.shape[1] for name, found in read.items() if found is not None}

    def _precision(self) -> "torch.autocast":
        import torch

        return torch.autocast(self.device, torch.bfloat16, enabled=self.dtype == "bfloat16")


class _Padded(_Transformers):
    row_overhead = ROW_OVERHEAD


class _Texts(_Transformers):
    inputs: TextInputs

    def prepare(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "tuple[NDArray[Any], NDArray[np.int32]]":
        return self.inputs.prepare(data, length)


class _PaddedTexts(_Texts):
    row_overhead = ROW_OVERHEAD


def _class_for(inputs: Inputs) -> type[_Transformers]:
    """The loaded encoder that can do what its inputs can."""
    if isinstance(inputs, TextInputs):
        return _PaddedTexts if inputs.pads else _Texts
    return _Padded if inputs.pads else _Transformers


@contextmanager
def _told(path: Path, name: str) -> Iterator[None]:
    """What a model says to a blank row that it cannot take becomes a `ConfigError`."""
    import torch

    try:
        yield
    except (SampanError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as fault:
        reason = " ".join(str(fault).split())[:300]
        if isinstance(fault, RuntimeError) and "memory" in reason.lower():
            raise
        raise ConfigError(
            f"{path}: {name} fails on a blank row: {type(fault).__name__}: {reason}"
        ) from fault


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
