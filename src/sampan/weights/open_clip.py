"""
Checkpoints of open_clip → a folder that `CLIPModel` of transformers reads.

Both are the CLIP of Radford et al. (2021) with other names: open_clip keeps the projections of a
layer's queries, keys and values in one matrix, and its last projections transposed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.errors import ConfigError

if TYPE_CHECKING:
    import torch

HEADS = {"vision": {768: 12, 1024: 16}, "text": {512: 8, 768: 12}}
"""Attention heads of ViT-B/32, B/16 and L/14, by a tower's width: no tensor's shape tells them."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures CLIP was trained on; open_clip's default."""
ACTIVATIONS = ("gelu", "quick_gelu")

TOWER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
NAMES = {
    "logit_scale": "logit_scale",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
TRANSPOSED = {
    "visual.proj": "visual_projection.weight",
    "text_projection": "text_projection.weight",
}
LAYER = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)")
IN_PROJECTION = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")
NO_WEIGHTS = ("attn_mask", "text.attn_mask")

Tensors = Mapping[str, "torch.Tensor"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the tensors of a checkpoint do not tell."""

    activation: str
    vision_heads: int | None = None
    text_heads: int | None = None
    mean: tuple[float, ...] = MEAN
    deviation: tuple[float, ...] = DEVIATION


def settings_of(file: Path, activation: str | None) -> Settings:
    """
    From `open_clip_config.json` beside the checkpoint where there is one, else the common values.

    `ConfigError` where nothing says which activation the model was trained with.
    """
    beside = file.parent / "open_clip_config.json"
    about = json.loads(beside.read_bytes()) if beside.is_file() else {}
    model, pictures = about.get("model_cfg", {}), about.get("preprocess_cfg", {})
    vision, text = model.get("vision_cfg", {}), model.get("text_cfg", {})
    if model and activation is None:
        activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
    if activation is None:
        raise ConfigError(
            f"{file}: a checkpoint does not tell its activation; set --activation quick_gelu for "
            "weights of OpenAI and models whose name ends in -quickgelu, else gelu"
        )
    width = vision.get("width")
    return Settings(
        activation=activation,
        vision_heads=width // vision.get("head_width", 64) if width else None,
        text_heads=text.get("heads"),
        mean=tuple(pictures.get("mean", MEAN)),
        deviation=tuple(pictures.get("std", DEVIATION)),
    )


def checkpoint(file: Path) -> dict[str, "torch.Tensor"]:
    """
    The model's tensors by open_clip's names; a pickle is read for its tensors alone.

    `ConfigError` for a file that cannot be read, or that holds more than data.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found: Any
    try:
        if file.suffix == ".safetensors":
            found = load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as fault:
        raise _unreadable(file, fault) from fault
    except Exception as fault:
        if type(fault).__name__ != "UnpicklingError":
            raise
        raise _unreadable(file, fault) from fault
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: holds {type(found).__name__}, no table of tensors by name")
    named = {
        re.sub(r"^(module\.)?(text\.)?", "", str(name)): values
        for name, values in found.items()
        if isinstance(values, torch.Tensor)
    }
    return {name: values for name, values in named.items() if name not in NO_WEIGHTS}


def _unreadable(file: Path, fault: Exception) -> ConfigError:
    reason = str(fault).strip().splitlines() or [type(fault).__name__]
    return ConfigError(
        f"{file}: cannot be read as tensors alone, so it is not read at all: {reason[0]}"
    )


def config_of(tensors: Tensors, settings: Settings, file: Path) -> dict[str, Any]:
    """transformers' config.json, from the tensors' shapes; `ConfigError` for another model."""
    needed = ("visual.conv1.weight", "visual.proj", "token_embedding.weight", "text_projection")
    missing = [name for name in needed if name not in tensors]
    if missing:
        raise ConfigError(
            f"{file}: is no CLIP with a vision transformer of open_clip: it lacks "
            f"{', '.join(missing)}"
        )
    width, channels, patch, _ = tensors["visual.conv1.weight"].shape
    edge = round((len(tensors["visual.positional_embedding"]) - 1) ** 0.5)
    num_tokens, text_width = tensors["positional_embedding"].shape
    vocabulary = len(tensors["token_embedding.weight"])
    towers = {"vision": width, "text": text_width}
    asked = {"vision": settings.vision_heads, "text": settings.text_heads}
    heads = {tower: asked[tower] or HEADS[tower].get(size) for tower, size in towers.items()}
    for tower, count in heads.items():
        if not count or towers[tower] % count:
            known = ", ".join(map(str, HEADS[tower]))
            raise ConfigError(
                f"{file}: its {tower} tower is {towers[tower]} wide; the number of heads is known "
                f"for {known}; put the model's open_clip_config.json beside the checkpoint"
            )
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": tensors["visual.proj"].shape[1],
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": width,
            "intermediate_size": len(_layer(tensors, "visual.", file)),
            "num_hidden_layers": _layers(tensors, "visual."),
            "num_attention_heads": heads["vision"],
            "num_channels": channels,
            "image_size": edge * patch,
            "patch_size": patch,
            "hidden_act": settings.activation,
        },
        "text_config": {
            "model_type": "clip_text_model",
            "hidden_size": text_width,
            "intermediate_size": len(_layer(tensors, "", file)),
            "num_hidden_layers": _layers(tensors, ""),
            "num_attention_heads": heads["text"],
            "max_position_embeddings": num_tokens,
            "vocab_size": vocabulary,
            # open_clip reads a text at its end token, the last of the vocabulary
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,
            "pad_token_id": vocabulary - 1,
            "hidden_act": settings.activation,
        },
    }


def _layer(tensors: Tensors, tower: str, file: Path) -> "torch.Tensor":
    name = f"{tower}transformer.resblocks.0.mlp.c_fc.weight"
    if name not in tensors:
        raise ConfigError(f"{file}: is no CLIP with a vision transformer: it lacks {name}")
    return tensors[name]


def _layers(tensors: Tensors, tower: str) -> int:
    start = f"{tower}transformer.resblocks."
    return 1 + max(
        int(name.removeprefix(start).split(".")[0]) for name in tensors if name.startswith(start)
    )


def processor_of(config: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """transformers' preprocessor_config.json: open_clip resizes bicubically and crops."""
    edge = config["vision_config"]["image_size"]
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": edge},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": edge, "width": edge},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(settings.mean),
        "image_std": list(settings.deviation),
    }


def renamed(tensors: Tensors, file: Path) -> dict[str, "torch.Tensor"]:
    """The tensors of `CLIPModel`; `ConfigError` for any that has no place in it."""
    found: dict[str, torch.Tensor] = {}
    strange = []
    for name, values in tensors.items():
        made = dict(_renamed(name, values))
        found |= made
        if not made:
            strange.append(name)
    if strange:
        raise ConfigError(
            f"{file}: {len(strange)} of its {len(tensors)} tensors have no place in a CLIP with a "
            f"vision transformer: {', '.join(strange[:3])}{', …' if len(strange) > 3 else ''}"
        )
    return {name: values.contiguous().clone() for name, values in found.items()}


def _renamed(name: str, values: "torch.Tensor") -> Iterator[tuple[str, "torch.Tensor"]]:
    if name in NAMES:
        yield NAMES[name], values
    elif name in TRANSPOSED:
        yield TRANSPOSED[name], values.T
    elif found := IN_PROJECTION.fullmatch(name):
        visual, number, what = found.groups()
        for part, each in zip("qkv", values.chunk(3), strict=True):
            yield f"{_place(visual, number)}.self_attn.{part}_proj.{what}", each
    elif (found := LAYER.fullmatch(name)) and found[3] in TOWER:
        visual, number, part, what = found.groups()
        yield f"{_place(visual, number)}.{TOWER[part]}.{what}", values


def _place(visual: str | None, number: str) -> str:
    return f"{'vision' if visual else 'text'}_model.encoder.layers.{number}"


def convert(file: Path, to: Path, activation: str | None) -> None:
    """Write config.json, preprocessor_config.json and model.safetensors of a checkpoint."""
    import torch
    from safetensors.torch import save_file
    from transformers import CLIPConfig, CLIPModel

    settings = settings_of(file, activation)
    tensors = checkpoint(file)
    config = config_of(tensors, settings, file)
    made = renamed(tensors, file)
    with torch.device("meta"):
        wanted = CLIPModel(CLIPConfig(**config)).state_dict()
    faults = [
        f"{file}: {name} is {_shape(made.get(name))}, CLIPModel takes {_shape(values)}"
        for name, values in wanted.items()
        if not name.endswith("position_ids") and _shape(made.get(name)) != _shape(values)
    ]
    if faults:
        raise ConfigError(faults[:5])
    save_file(made, to / "model.safetensors", metadata={"format": "pt"})
    for name, value in (
        ("config.json", config),
        ("preprocessor_config.json", processor_of(config, settings)),
    ):
        (to / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _shape(values: "torch.Tensor | None") -> str:
    return "missing" if values is None else "×".join(map(str, values.shape)) or "one number"
