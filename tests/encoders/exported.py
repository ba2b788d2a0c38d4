"""Folders of transformers' models, exported to ONNX by torch as a user would."""

import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch


def clip(folder: Path, to: Path) -> Path:
    """Both towers: `vision_model.onnx`, and `text_model.onnx` with its weights beside it."""
    from transformers import CLIPModel

    _copy(folder, to)
    model = CLIPModel.from_pretrained(folder)
    size = model.config.vision_config.image_size
    export(
        _Vision(model.vision_model, model.visual_projection),
        to / "vision_model.onnx",
        {"pixel_values": torch.randn(2, 3, size, size)},
        ["image_embeds", "last_hidden_state"],
        [0],
    )
    ids = torch.ones(2, 7, dtype=torch.int64)
    export(
        _Text(model.text_model, model.text_projection),
        to / "text_model.onnx",
        {"input_ids": ids, "attention_mask": ids.clone()},
        ["text_embeds", "last_hidden_state"],
        [0, 1],
        external_data=True,
    )
    return to


class _Projected(torch.nn.Module):
    def __init__(self, tower: Any, projection: Any) -> None:
        super().__init__()
        self.tower, self.projection = tower, projection

    def read(self, found: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return self.projection(found.pooler_output), found.last_hidden_state


class _Vision(_Projected):
    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.read(self.tower(pixel_values))


class _Text(_Projected):
    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.read(self.tower(input_ids, attention_mask))


def bert(folder: Path, to: Path) -> Path:
    from transformers import BertModel

    _copy(folder, to)
    ids = torch.ones(2, 7, dtype=torch.int64)
    inputs = {"input_ids": ids, "attention_mask": ids.clone(), "token_type_ids": ids * 0}
    names = ["last_hidden_state", "pooler_output"]
    export(BertModel.from_pretrained(folder), to / "model.onnx", inputs, names, [0, 1])
    return to


def wav2vec2(folder: Path, to: Path) -> Path:
    from transformers import Wav2Vec2Model

    _copy(folder, to)
    model = Wav2Vec2Model.from_pretrained(folder)
    samples = torch.randn(2, 4000)
    frames = torch.ones(2, 4000, dtype=torch.int64)
    frames[1, 3000:] = 0
    export(
        model,
        to / "model.onnx",
        {"input_values": samples, "attention_mask": frames},
        ["last_hidden_state", "extract_features"],
        [0, 1],
    )
    return to


def export(
    model: Any,
    file: Path,
    inputs: dict[str, torch.Tensor],
    outputs: list[str],
    free: list[int],
    **save: Any,
) -> None:
    """
    `free` are the dimensions of all inputs that may have any size; no two inputs are one tensor.
    """
    dynamic = {i: torch.export.Dim.DYNAMIC for i in free}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision is not installed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            model.eval(),
            (),
            kwargs=inputs,
            dynamic_shapes=dict.fromkeys(inputs, dynamic),
            input_names=list(inputs),
            output_names=outputs,
            dynamo=True,
            verbose=False,
        )
    for value in made.model.graph.inputs:
        assert all(not isinstance(value.shape[i], int) for i in free), value
    made.save(file, **save)


def _copy(folder: Path, to: Path) -> None:
    shutil.copytree(folder, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))


def onnx_with_external_data(file: Path, name: str) -> bytes:
    """Move the weights of an ONNX file to another file beside it; returns what it was."""
    import onnx

    before = file.read_bytes()
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location=name)
    return before
