"""The part of a model that encodes one kind of modality, and what can be read from it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.encoders.pretrained.architecture import ENCODERS, maker_of
from sampan.encoders.pretrained.offline import offline
from sampan.encoders.pretrained.pooling import SentenceHead
from sampan.encoders.pretrained.sentence import sentence_of
from sampan.encoders.pretrained.tokens import prompt_tokens, tokenizer_of
from sampan.errors import ConfigError

if TYPE_CHECKING:
    import torch

TOWERS = {"image": "vision_model", "text": "text_model", "audio": "audio_model"}
INPUTS = {
    "pixel_values": "image",
    "input_ids": "text",
    "input_values": "audio",
    "input_features": "audio",
}
OUTPUTS = ("projection", "pooled", "cls", "mean", "sentence")
CLASS_TOKENS = ("cls_token", "class_embedding", "distillation_token")
ONLY_IN_TRAINING = ("masked_spec_embed", "mask_token")


def kinds_of(model: Any) -> list[str]:
    """Kinds of modality that a model encodes."""
    kinds = [kind for kind, name in TOWERS.items() if hasattr(model, name)]
    return kinds or [INPUTS[name] for name in (model.main_input_name,) if name in INPUTS]


def part_of(model: Any, kind: str) -> Any:
    """The module that encodes `kind`: one of several towers, an encoder alone, or all."""
    if hasattr(model, TOWERS[kind]):
        return getattr(model, TOWERS[kind])
    return model.get_encoder() if has_decoder(model) else model


def has_decoder(model: Any) -> bool:
    """Whether a decoder follows the encoder: it is left out. The folder's config may not say so."""
    return bool(model.config.is_encoder_decoder) or (
        getattr(model, "decoder", None) is not None and hasattr(model, "encoder")
    )


def reads_encoder_alone(model: Any) -> bool:
    return has_decoder(model) or model.config.model_type in ENCODERS


@dataclass(frozen=True, kw_only=True)
class Places:
    """What the places of a model's last layer stand for."""

    class_token: bool
    """Whether the first token stands for the whole sample."""
    prefix: int
    """Leading tokens that stand for no place in the sample: class, distillation, registers."""

    def read(
        self, output: str, hidden: "torch.Tensor", mask: "torch.Tensor | None"
    ) -> "torch.Tensor | None":
        """
        The last layer → (sample, embedding) float32; None for `cls` without a class token.

        `cls`: the class token. `mean`: the mean over tokens of text or frames of sound (where the
        model tells them from padding), over patches without class and register tokens, or over the
        places of a feature map.
        """
        hidden = hidden.float()
        if output == "cls":
            return hidden[:, 0] if self.class_token else None
        if hidden.ndim == 4:  # (sample, feature, y, x)
            return hidden.mean((2, 3))
        if mask is None:
            return hidden[:, self.prefix :].mean(1)
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)


def places_of(path: Path, module: Any, kind: str) -> Places:
    """Learnt from the names of a module's parameters, of text also from the folder's tokenizer."""
    names = [name.rpartition(".")[2] for name, _ in module.named_parameters()]
    class_tokens = sum(name in CLASS_TOKENS for name in names)
    registers = getattr(module.config, "num_register_tokens", 0) or 0
    of_text = kind == "text" and tokenizer_of(path).cls_token_id is not None
    return Places(
        class_token=of_text or class_tokens > 0,
        prefix=class_tokens + (registers if kind == "image" else 0),
    )


def no_output(path: Path, name: str, output: str, kind: str, there: Iterable[str]) -> ConfigError:
    return ConfigError(
        f"{path}: {name} has no output: {output} for {kind}; there are: {', '.join(there)}"
    )


@dataclass(frozen=True, kw_only=True)
class Backbone:
    module: Any
    """What encodes the modality."""
    project: Callable[..., Any] | None
    """Into the space that a model's towers share; None where there is only one tower."""
    places: Places
    head: SentenceHead | None = None
    """What modules.json of sentence-transformers has after the module."""

    @property
    def whole(self) -> Any:
        """The module with its projection, if it has one."""
        return self.module if self.project is None else self.project.__self__  # type: ignore[attr-defined] # a method

    def read(
        self, output: str, inputs: "dict[str, torch.Tensor]", mask: "torch.Tensor | None"
    ) -> "torch.Tensor | None":
        """
        (sample, embedding) float32; None where the architecture has no such output.

        `projection`: the shared space of CLIP and its kind. `pooled`: the model's own pooling.
        `cls` and `mean`: of the last layer. `sentence`: what modules.json makes of it.
        """
        if output == "projection":
            return None if self.project is None else _rows(self.project(**inputs), "pooler_output")
        result = self.module(**inputs)
        if output == "pooled":
            return _rows(result, "pooler_output")
        if output == "sentence":
            if self.head is None or mask is None:
                return None
            return self.head(result.last_hidden_state, mask)
        return self.places.read(output, result.last_hidden_state, mask)


def load_head(path: Path, device: str) -> SentenceHead | None:
    """What follows a text model by the folder's modules.json, with its weights on `device`."""
    sentence = sentence_of(path)
    if sentence is None:
        return None
    left_out = 0
    if not sentence.include_prompt:
        left_out = prompt_tokens(tokenizer_of(path), sentence.prompt)
    return SentenceHead(sentence=sentence, prompt_tokens=left_out, device=device)


def _rows(result: Any, name: str) -> "torch.Tensor | None":
    import torch

    found = getattr(result, name, None)
    return found.float().flatten(1) if isinstance(found, torch.Tensor) else None


def load_backbone(path: Path, kind: str, device: str, output: str) -> Backbone:
    """
    The folder's tower for `kind`, with float32 weights on `device`; the others are let go.

    On a GPU the kernels of an image tower's convolutions lie channels last, as its pictures do:
    cuDNN would turn them in every call.
    """
    with offline(path):
        import torch
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model, report = maker_of(config).from_pretrained(
            path,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    if hasattr(model, TOWERS[kind]):
        for other in set(TOWERS.values()) - {TOWERS[kind]}:
            if hasattr(model, other):
                setattr(model, other, None)
    module = part_of(model, kind)
    _refuse_random(path, model, module, set(report["missing_keys"]), output)
    model.eval().requires_grad_(False)
    project = getattr(model, f"get_{kind}_features", None)
    whole = module if project is None else model
    whole.to(device)
    if device == "cuda" and kind == "image":
        whole.to(memory_format=torch.channels_last)
    return Backbone(
        module=module,
        project=project,
        places=places_of(path, module, kind),
        head=load_head(path, device) if kind == "text" else None,
    )


def _is_computed(module: Any) -> bool:
    """Whether a module's numbers follow from its size, so that no file has to hold them."""
    return "Sinusoidal" in type(module).__name__


def _refuse_random(path: Path, model: Any, module: Any, missing: set[str], output: str) -> None:
    """Weights that the folder lacks would be random numbers: `ConfigError` where they count."""
    part = model if output == "projection" else module
    kept = {id(values) for values in (*part.parameters(), *part.buffers())}
    random = [
        name
        for name, values in (*model.named_parameters(), *model.named_buffers())
        if name in missing
        and id(values) in kept
        and name.rpartition(".")[2] not in ONLY_IN_TRAINING
        and not _is_computed(model.get_submodule(name.rpartition(".")[0]))
        and not (output in ("cls", "mean", "sentence") and "pooler." in name)
    ]
    if random:
        raise ConfigError(
            f"{path}: the weights lack {len(random)} parameters that output: {output} needs: "
            f"{', '.join(random[:3])}{', …' if len(random) > 3 else ''}"
        )
