"""Encoders that were exported to ONNX, from a local folder, on onnxruntime."""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sampan.encoders.pretrained.binding import GraphBinding, bind_graph
from sampan.encoders.pretrained.inputs import (
    LARGEST_DECODING,
    ROW_OVERHEAD,
    Inputs,
    TextInputs,
    blank,
    decoding_settings,
)
from sampan.errors import ConfigError, PluginError, SampanError
from sampan.plugins import Device, Encode, Modality, kind_of
from sampan.weights.digests import check_digest, refuse_other
from sampan.weights.folder import refuse_unsafe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True, kw_only=True)
class Onnx:
    """
    Any image, text or audio encoder that was exported to ONNX, with the settings of its model.

    `vision_model.onnx`, `text_model.onnx` and `audio_model.onnx` are towers of one model,
    `model.onnx` is a model of one kind. The folder's own processor or tokenizer decides size,
    normalisation, rate and tokens, as for `transformers`; what is stored otherwise is refused.
    Weights that the file keeps beside it are read from the folder alone; custom operators are not
    loaded.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    kinds: ClassVar[tuple[str, ...]] = ("image", "text", "audio")
    workers: ClassVar[Literal["processes", "one"]] = "one"
    devices: ClassVar[tuple[Device, ...]] = ("cpu", "cuda")

    path: Path = field(metadata={"identity": False})
    """Folder with *.onnx, config.json and the model's own processor or tokenizer."""
    digest: str
    """SHA-256 over all files that are read from the folder, in 64 hexadecimal digits."""
    output: Literal["projection", "pooled", "cls", "mean", "sentence"]
    """What to take: `projection` into the space that a model's towers share (`image_embeds`,
    `text_embeds`, `audio_embeds`), its own `pooled` output (`pooler_output`), or of
    `last_hidden_state` the class token (`cls`), the `mean` over tokens, patches or frames (without
    padding), or the `sentence` embedding that the modules.json of sentence-transformers makes."""
    batch: Annotated[int, Interval(gt=0, le=1 << 20)] = field(
        default=32, metadata={"identity": False}
    )
    """Rows in a batch at most."""
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
        refuse_unsafe(self.path, "onnx")
        return decoding_settings(self.path, kind)

    def check(self, modality: Modality) -> list[str]:
        """As every encoder; reads config, processor, tokenizer and the graph, no weights."""
        try:
            _refuse_missing_library()
            refuse_unsafe(self.path, "onnx")
            bind_graph(self.path, modality, self.output)
        except SampanError as fault:
            return list(fault.faults)
        return []

    def load(self, modality: Modality, device: str) -> Encode:
        """
        Check the digest, read the weights, and encode one blank row.

        `ConfigError` for weights, outputs or a modality that do not fit, `PluginError` for a
        `device` of `cuda` that onnxruntime cannot use.
        """
        _refuse_missing_library()
        refuse_unsafe(self.path, "onnx")
        refuse_other(self.path, self.digest, "onnx")
        binding = bind_graph(self.path, modality, self.output)
        encode = _class_for(binding.inputs)(
            session=_session(binding.file, device), binding=binding, output=self.output
        )
        with _told(binding.file, "fails on a blank row"):
            encode.dimensions = encode(*blank(modality)).shape[1]
            if binding.ignores_mask:
                _refuse_padding_that_counts(encode, modality)
        return encode


@dataclass(kw_only=True)
class _Onnx:
    session: Any
    binding: GraphBinding
    output: str
    dimensions: int = 0

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.float32]":
        import numpy as np
        import torch

        parts = []
        for made, mask in self.binding.inputs(data, length):
            fed = {
                name: np.ascontiguousarray(made[name].numpy(), dtype=value.dtype)
                for name, value in self.binding.wanted.items()
            }
            found = torch.from_numpy(self.session.run([self.binding.name], fed)[0])
            if self.output == "sentence":
                assert self.binding.head is not None and mask is not None  # text alone has it
                parts.append(self.binding.head(found, mask).numpy())
            elif self.output in ("cls", "mean"):
                read = self.binding.places.read(self.output, found, mask)
                assert read is not None  # an output that is not there was refused
                parts.append(read.numpy())
            else:
                parts.append(found.float().flatten(1).numpy())
        return np.concatenate(parts)


class _OnnxPadded(_Onnx):
    row_overhead = ROW_OVERHEAD


class _OnnxTexts(_Onnx):
    def prepare(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "tuple[NDArray[Any], NDArray[np.int32]]":
        assert isinstance(self.binding.inputs, TextInputs)
        return self.binding.inputs.prepare(data, length)


class _OnnxPaddedTexts(_OnnxTexts):
    row_overhead = ROW_OVERHEAD


def _class_for(inputs: Inputs) -> type[_Onnx]:
    """The loaded encoder that can do what its inputs can."""
    if isinstance(inputs, TextInputs):
        return _OnnxPaddedTexts if inputs.pads else _OnnxTexts
    return _OnnxPadded if inputs.pads else _Onnx


def _refuse_padding_that_counts(encode: _Onnx, modality: Modality) -> None:
    """
    `ConfigError` where a short row's embedding changes beside a long one.

    A graph without a mask may be right all the same: CLIP's text tower looks at no later token.
    """
    import numpy as np

    rows = np.repeat(blank(modality)[0], 2, axis=0)
    most = rows.shape[1]
    if kind_of(modality) == "text":
        rows[:, 1::2] = ord(" ")
        short = 1
    else:
        rows[:] = np.sin(np.arange(most)) * (100 if rows.dtype.kind == "i" else 0.1)
        short = most // 4
    length = np.array([short, most], np.int32)
    alone, beside = encode(rows[:1], length[:1]), encode(rows, length)[:1]
    difference = float(np.abs(alone - beside).max())
    if not difference <= 1e-3 * max(1.0, float(np.abs(alone).max())):
        raise ConfigError(
            f"{encode.binding.file}: takes no attention_mask, and an embedding changes by "
            f"{difference:.2g} with the padding beside it; export it with attention_mask"
        )


def _refuse_missing_library() -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        raise PluginError(
            "encoders of kind onnx need onnxruntime; run: pip install onnxruntime "
            "(for GPUs: onnxruntime-gpu)"
        )


@contextmanager
def _told(file: Path, what: str) -> Iterator[None]:
    """What onnxruntime says of a file that it cannot use becomes a `ConfigError`."""
    try:
        yield
    except Exception as fault:
        if not type(fault).__module__.startswith("onnxruntime"):
            raise
        reason = str(fault).strip().splitlines()[0]
        raise ConfigError(f"{file}: onnxruntime {what}: {reason}") from fault


def _session(file: Path, device: str) -> Any:
    """The graph, ready to run on exactly the threads that were granted to this process."""
    import onnxruntime
    import torch  # noqa: F401 # first: it loads the CUDA libraries that onnxruntime needs

    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise PluginError(
            f"this job was granted a GPU that onnxruntime {onnxruntime.__version__} cannot use: "
            f"it has no {provider}; install onnxruntime-gpu in its place, or set device: cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    options.use_deterministic_compute = True
    settings = {"arena_extend_strategy": "kSameAsRequested", "use_tf32": "0"}
    asked: list[Any] = [PROVIDERS["cpu"]]
    if device == "cuda":
        asked.insert(0, (provider, settings))
    with _told(file, "cannot load it"):
        session = onnxruntime.InferenceSession(file, options, providers=asked)
    if session.get_providers()[0] != provider:
        raise PluginError(
            f"this job was granted a GPU that onnxruntime {onnxruntime.__version__} cannot use: "
            f"{provider} does not start; see the log, or set device: cpu"
        )
    session.disable_fallback()
    return session
