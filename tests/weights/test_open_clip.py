"""
Converted checkpoints against CLIP's forward pass, written out from the paper's pseudocode and
open_clip's names: pre-norm blocks, a class token, the text read at its end token.
"""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import CLIPModel

from sampan.errors import ConfigError
from sampan.weights.open_clip import config_of, convert, settings_of

WIDTH, HEADS, LAYERS, PATCH, EDGE, TEXT_WIDTH, TEXT_HEADS, TOKENS, WORDS, SHARED = (
    32, 4, 2, 8, 24, 24, 2, 10, 50, 16,
)  # fmt: skip
ABOUT = {
    "model_cfg": {
        "vision_cfg": {"width": WIDTH, "head_width": WIDTH // HEADS},
        "text_cfg": {"heads": TEXT_HEADS},
    },
    "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
}


def blocks(prefix, width):
    shapes = {
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
        "mlp.c_fc.weight": (4 * width, width),
        "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (width, 4 * width),
        "mlp.c_proj.bias": (width,),
    }
    return {
        f"{prefix}transformer.resblocks.{layer}.{name}": shape
        for layer in range(LAYERS)
        for name, shape in shapes.items()
    }


def tiny(**shapes):
    """Random tensors by the names that open_clip's CLIP gives them."""
    random = torch.Generator().manual_seed(0)
    shapes = {
        "visual.class_embedding": (WIDTH,),
        "visual.positional_embedding": ((EDGE // PATCH) ** 2 + 1, WIDTH),
        "visual.proj": (WIDTH, SHARED),
        "visual.conv1.weight": (WIDTH, 3, PATCH, PATCH),
        **{f"visual.{ln}.{what}": (WIDTH,) for ln in ("ln_pre", "ln_post") for what in
           ("weight", "bias")},
        **blocks("visual.", WIDTH),
        "positional_embedding": (TOKENS, TEXT_WIDTH),
        "text_projection": (TEXT_WIDTH, SHARED),
        "token_embedding.weight": (WORDS, TEXT_WIDTH),
        "ln_final.weight": (TEXT_WIDTH,),
        "ln_final.bias": (TEXT_WIDTH,),
        **blocks("", TEXT_WIDTH),
        "logit_scale": (),
    } | shapes  # fmt: skip
    return {name: 0.3 * torch.randn(shape, generator=random) for name, shape in shapes.items()}


def checkpoint(folder, tensors, *, about=ABOUT, name="open_clip_pytorch_model.bin"):
    folder.mkdir(parents=True, exist_ok=True)
    if about is not None:
        (folder / "open_clip_config.json").write_text(json.dumps(about))
    torch.save(tensors, folder / name)
    return folder / name


ACTIVATIONS = {"gelu": functional.gelu, "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x)}


def block(w, x, heads, mask, activation):
    width = x.shape[-1]

    def norm(name, x):
        return functional.layer_norm(x, (width,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    def split(x):  # (sample, head, token, feature)
        return x.view(*x.shape[:2], heads, -1).transpose(1, 2)

    made = norm("ln_1", x) @ w["attn.in_proj_weight"].T + w["attn.in_proj_bias"]
    q, k, v = map(split, made.split(width, dim=-1))
    scores = q @ k.transpose(2, 3) / (width // heads) ** 0.5 + mask
    seen = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    x = x + seen @ w["attn.out_proj.weight"].T + w["attn.out_proj.bias"]
    inner = activation(norm("ln_2", x) @ w["mlp.c_fc.weight"].T + w["mlp.c_fc.bias"])
    return x + inner @ w["mlp.c_proj.weight"].T + w["mlp.c_proj.bias"]


def layers(w, prefix, x, heads, mask, activation):
    for layer in range(LAYERS):
        start = f"{prefix}transformer.resblocks.{layer}."
        own = {n.removeprefix(start): values for n, values in w.items() if n.startswith(start)}
        x = block(own, x, heads, mask, activation)
    return x


def see(w, pixels, activation):
    x = functional.conv2d(pixels, w["visual.conv1.weight"], stride=PATCH).flatten(2).mT
    x = torch.cat([w["visual.class_embedding"].expand(len(x), 1, -1), x], 1)
    x = x + w["visual.positional_embedding"]
    x = functional.layer_norm(x, (WIDTH,), w["visual.ln_pre.weight"], w["visual.ln_pre.bias"])
    x = layers(w, "visual.", x, HEADS, 0, activation)[:, 0]
    x = functional.layer_norm(x, (WIDTH,), w["visual.ln_post.weight"], w["visual.ln_post.bias"])
    return x @ w["visual.proj"]


def read(w, ids, activation):
    x = w["token_embedding.weight"][ids] + w["positional_embedding"][: ids.shape[1]]
    later = torch.full((ids.shape[1],) * 2, -torch.inf).triu(1)
    x = layers(w, "", x, TEXT_HEADS, later, activation)
    x = functional.layer_norm(x, (TEXT_WIDTH,), w["ln_final.weight"], w["ln_final.bias"])
    return x[torch.arange(len(x)), ids.argmax(1)] @ w["text_projection"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_converted_model_gives_what_the_checkpoint_gives(activation, tmp_path):
    tensors = tiny()
    convert(checkpoint(tmp_path / "from", tensors), tmp_path, activation)
    random = torch.Generator().manual_seed(1)
    pixels = torch.randn(3, 3, EDGE, EDGE, generator=random)
    ids = torch.tensor([[48, 5, 6, 49, 0, 0], [48, 7, 8, 9, 10, 49], [48, 49, 0, 0, 0, 0]])

    model = CLIPModel.from_pretrained(tmp_path).eval()

    with torch.inference_mode():
        seen = model.get_image_features(pixels).pooler_output
        said = model.get_text_features(ids).pooler_output
    torch.testing.assert_close(seen, see(tensors, pixels, ACTIVATIONS[activation]))
    torch.testing.assert_close(said, read(tensors, ids, ACTIVATIONS[activation]))
    assert seen.std() > 0.1 and said.std() > 0.1


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda w: {"state_dict": w, "epoch": 3, "optimizer": {"step": torch.tensor(1)}},
        lambda w: {"state_dict": {f"module.{name}": v for name, v in w.items()}, "name": "run"},
        lambda w: (
            {n if n.startswith("visual.") else f"text.{n}": v for n, v in w.items()}
            | {"text.attn_mask": torch.zeros(TOKENS, TOKENS)}
        ),
    ],
)
def test_what_training_and_other_classes_wrap_around_the_tensors_is_taken_off(wrapped, tmp_path):
    plain, other = tmp_path / "plain", tmp_path / "other"
    convert(checkpoint(plain, tiny(), name="a.pt"), plain, None)

    convert(checkpoint(other, wrapped(tiny()), name="a.pt"), other, None)

    found, expected = (f / "model.safetensors" for f in (other, plain))
    assert found.read_bytes() == expected.read_bytes()


def test_safetensors_of_open_clip_are_converted_too(tmp_path):
    pickled, safe = tmp_path / "pickled", tmp_path / "safe"
    convert(checkpoint(pickled, tiny()), pickled, None)
    checkpoint(safe, {})
    save_file(tiny(), safe / "open_clip_model.safetensors")

    convert(safe / "open_clip_model.safetensors", safe, None)

    found, expected = (f / "model.safetensors" for f in (safe, pickled))
    assert found.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(
    ("vision", "text", "patch", "grid", "heads"),
    [(768, 512, 32, 7, (12, 8)), (768, 512, 16, 14, (12, 8)), (1024, 768, 14, 16, (16, 12))],
    ids=["B/32", "B/16", "L/14"],
)
def test_the_common_models_are_known_by_their_shapes(vision, text, patch, grid, heads, tmp_path):
    tensors = {
        name: torch.empty(shape, device="meta")
        for name, shape in {
            "visual.conv1.weight": (vision, 3, patch, patch),
            "visual.positional_embedding": (grid**2 + 1, vision),
            "visual.proj": (vision, text),
            "positional_embedding": (77, text),
            "text_projection": (text, text),
            "token_embedding.weight": (49408, text),
            "visual.transformer.resblocks.0.mlp.c_fc.weight": (4 * vision, vision),
            "visual.transformer.resblocks.11.mlp.c_fc.weight": (4 * vision, vision),
            "transformer.resblocks.0.mlp.c_fc.weight": (4 * text, text),
        }.items()
    }
    file = tmp_path / "model.pt"

    config = config_of(tensors, settings_of(file, "gelu"), file)

    towers = config["vision_config"], config["text_config"]
    assert tuple(tower["num_attention_heads"] for tower in towers) == heads
    assert towers[0]["image_size"] == 224
    assert towers[0]["num_hidden_layers"] == 12
    assert towers[1]["eos_token_id"] == 49407
    assert config["projection_dim"] == text


def test_pictures_are_normalised_as_the_models_own_config_says(tmp_path):
    convert(checkpoint(tmp_path, tiny()), tmp_path, None)

    about = json.loads((tmp_path / "preprocessor_config.json").read_text())

    assert about["image_mean"] == [0.5, 0.4, 0.3]
    assert about["image_std"] == [0.2, 0.3, 0.4]
    assert about["crop_size"] == {"height": EDGE, "width": EDGE}


class Code:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.mark.parametrize(
    ("tensors", "about", "fault"),
    [
        (tiny(), None, "does not tell its activation; set --activation quick_gelu for"),
        (
            tiny(),
            {"model_cfg": {"text_cfg": {}}},
            "its vision tower is 32 wide; the number of heads is known for 768, 1024; put",
        ),
        (
            tiny(**{"visual.transformer.resblocks.0.ls_1.gamma": (WIDTH,)}),
            ABOUT,
            "1 of its .* tensors have no place in a CLIP .*: visual.transformer.resblocks.0.ls_1",
        ),
        ({"visual.layer1.0.conv1.weight": torch.ones(1)}, ABOUT, "is no CLIP with a vision trans"),
        (
            {n: v for n, v in tiny().items() if n != "ln_final.bias"},
            ABOUT,
            "text_model.final_layer_norm.bias is missing, CLIPModel takes 24",
        ),
        ({"state_dict": tiny(), "code": Code()}, ABOUT, "cannot be read as tensors alone"),
        (torch.ones(3), ABOUT, "holds Tensor, no table of tensors by name"),
    ],
)
def test_a_checkpoint_that_is_no_such_model_is_refused(tensors, about, fault, tmp_path, capfd):
    file = checkpoint(tmp_path, tensors, about=about)

    with pytest.raises(ConfigError, match=fault):
        convert(file, tmp_path, None)

    assert "ran" not in capfd.readouterr().out
    assert not (tmp_path / "model.safetensors").exists()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    for data in (b"", b"no pickle", np.random.default_rng(0).bytes(1000)):
        (tmp_path / "model.pt").write_bytes(data)
        (tmp_path / "model.safetensors").write_bytes(data)

        for name in ("model.pt", "model.safetensors"):
            with pytest.raises(ConfigError, match="cannot be read as tensors alone"):
                convert(tmp_path / name, tmp_path, "gelu")
