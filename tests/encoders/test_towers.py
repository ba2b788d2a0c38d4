import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from sampan.encoders.skeletons import skeleton
from sampan.encoders.towers import kinds_of, tower_of
from sampan.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("clip", ["image", "text"]),
        ("clap", ["text", "audio"]),
        ("dinov2", ["image"]),
        ("bert", ["text"]),
        ("wav2vec2", ["audio"]),
        ("whisper", ["audio"]),
    ],
)
def test_a_skeleton_knows_its_kinds_and_holds_no_weights(name, kinds, request):
    model = skeleton(request.getfixturevalue(name))

    assert kinds_of(model) == kinds
    assert not any(values.numel() > 64 for values in model.parameters() if not values.is_meta)


def test_only_the_tower_of_the_modality_is_kept(clip):
    tower = tower_of(clip, "image", "cpu", "projection")

    model = tower.project.__self__
    assert model.text_model is None
    assert model.vision_model is tower.module


def test_weights_that_the_folder_lacks_are_refused_where_the_output_needs_them(bert, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(bert, folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: values for name, values in weights.items() if not name.startswith("pooler.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ConfigError, match="lack 2 parameters that output: pooled needs: pooler"):
        tower_of(folder, "text", "cpu", "pooled")
    assert tower_of(folder, "text", "cpu", "mean").places.class_token


def test_weights_saved_in_half_precision_are_loaded_in_single(bert, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(bert, folder)
    halves = {n: v.half() for n, v in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})

    tower = tower_of(folder, "text", "cpu", "mean")

    assert {parameter.dtype for parameter in tower.module.parameters()} == {torch.float32}


def test_the_mean_leaves_out_class_and_register_tokens(tmp_path):
    config = Dinov2WithRegistersConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        num_register_tokens=3,
    )
    Dinov2WithRegistersModel(config).save_pretrained(tmp_path)
    tower = tower_of(tmp_path, "image", "cpu", "mean")
    inputs = {"pixel_values": torch.randn(2, 3, 28, 28)}

    with torch.inference_mode():
        found = tower.read("mean", inputs, None)
        patches = tower.module(**inputs).last_hidden_state[:, -4:]

    torch.testing.assert_close(found, patches.mean(1))
