"""
A folder's model without its weights: cheap, and all its parts can be asked.

What config.json asks for is bounded by the weights beside it, so that a wrong number is told and
not built.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sampan.encoders.pretrained.offline import offline
from sampan.errors import ConfigError
from sampan.weights.integrity import (
    read_json,
    refuse_other_than_floats,
    tensors_of,
    weight_files,
)

COUNTS = re.compile("layer|depth|block|stage|expert|label|group|num_heads|attention_heads")
"""Names of settings that the library makes lists of before it makes a model."""
MOST = 100_000
PARAMETERS = 5_000
"""That any model may have, whatever lies beside it."""
NUMBERS = 10_000_000
NUMBERS_PER_BYTE = 8
"""Of a model, for each byte of the weights: they may be packed, and a part of it may be missing."""
ENCODERS = ("t5", "mt5", "umt5")
"""Encoder–decoders whose encoder the library loads by itself."""
PAIRS = {
    "vision-encoder-decoder": "VisionEncoderDecoderModel",
    "speech-encoder-decoder": "SpeechEncoderDecoderModel",
    "encoder-decoder": "EncoderDecoderModel",
}
"""Encoders joined with a decoder, which `AutoModel` does not know."""


def build_architecture(path: Path) -> Any:
    """`ConfigError` where the folder describes no model, or one that the weights cannot fill."""
    _refuse_counts(path / "config.json")
    with offline(path, "config.json"):
        import torch
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"), _bounded(path):
            maker = maker_of(config)
            if hasattr(maker, "from_config"):
                return maker.from_config(config, trust_remote_code=False)
            return maker(config)


def maker_of(config: Any) -> Any:
    """The class that makes a config's model: the encoder alone where the library has it so."""
    import transformers

    if config.model_type in ENCODERS:
        return transformers.AutoModelForTextEncoding
    return getattr(transformers, PAIRS.get(config.model_type, "AutoModel"))


def _refuse_counts(file: Path) -> None:
    if not file.is_file():
        raise ConfigError(f"{file.parent}: no config.json in this folder")
    for name, value in _numbers(read_json(file), ""):
        if value > MOST and COUNTS.search(name):
            raise ConfigError(f"{file}: {name}: {_short(value)} is more than {MOST:,}")


def _numbers(value: Any, name: str) -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield name, value


def _short(value: int) -> str:
    return f"{value:,}" if abs(value) < 10**18 else "a number of more than 18 digits"


@contextmanager
def _bounded(path: Path) -> Iterator[None]:
    """`ConfigError` as soon as a model that is being made outgrows the folder's weights."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    stored = sum(file.stat().st_size for file in (*path.glob("*"), *path.glob("onnx/*")))
    most_parameters = max(PARAMETERS, stored // 1000)
    most_numbers = NUMBERS + NUMBERS_PER_BYTE * stored
    parameters = numbers = 0

    def count(module: Any, name: str, values: Any) -> None:
        nonlocal parameters, numbers
        if values is None:
            return
        parameters, numbers = parameters + 1, numbers + values.numel()
        if parameters > most_parameters or numbers > most_numbers:
            raise ConfigError(
                f"{path / 'config.json'}: describes a model of more than {numbers:,} numbers in "
                f"{parameters:,} tensors; the folder holds {stored / 1e6:,.1f} MB"
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def shape_faults(path: Path, model: Any) -> list[str]:
    """Tensors of the folder's safetensors that have another shape than the model's own."""
    prefix = f"{model.base_model_prefix}."
    wanted = {name: tuple(values.shape) for name, values in model.named_parameters()}
    ends = {_end(name) for name in wanted}
    faults = []
    known = False
    for file in weight_files(path):
        tensors = tensors_of(file)
        refuse_other_than_floats(
            file,
            [name for name in tensors if name in wanted or name.removeprefix(prefix) in wanted],
        )
        for name, shape in tensors.items():
            known = known or _end(name) in ends
            here = wanted.get(name, wanted.get(name.removeprefix(prefix)))
            if here is not None and here != shape:
                faults.append(f"{file}: {name} is {_by(shape)}, config.json makes it {_by(here)}")
    if not known:
        name = model.config.model_type
        faults.append(f"{path}: none of the weights is of a {name}, which config.json describes")
    return faults[:3]


def _end(name: str) -> str:
    """What a tensor is called in its layer, whatever the layers are called."""
    return ".".join(name.split(".")[-2:])


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "one number"
