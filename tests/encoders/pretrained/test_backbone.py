import shutil

import numpy as np
import pytest
import torch
from encoders.stored import pictures, text_rows, texts
from safetensors.torch import load_file, save_file
from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from sampan.encoders.pretrained.architecture import build_architecture
from sampan.encoders.pretrained.backbone import kinds_of, load_backbone
from sampan.encoders.transformers import Transformers
from sampan.errors import ConfigError
from sampan.weights.digests import weights_digest


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
    model = build_architecture(request.getfixturevalue(name))

    assert kinds_of(model) == kinds
    assert not any(values.numel() > 64 for values in model.parameters() if not values.is_meta)


def test_only_the_tower_of_the_modality_is_kept(clip):
    backbone = load_backbone(clip, "image", "cpu", "projection")

    model = backbone.project.__self__
    assert model.text_model is None
    assert model.vision_model is backbone.module


def test_weights_that_the_folder_lacks_are_refused_where_the_output_needs_them(bert, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(bert, folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: values for name, values in weights.items() if not name.startswith("pooler.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ConfigError, match="lack 2 parameters that output: pooled needs: pooler"):
        load_backbone(folder, "text", "cpu", "pooled")
    assert load_backbone(folder, "text", "cpu", "mean").places.class_token


def test_weights_saved_in_half_precision_are_loaded_in_single(bert, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(bert, folder)
    halves = {n: v.half() for n, v in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})

    backbone = load_backbone(folder, "text", "cpu", "mean")

    assert {parameter.dtype for parameter in backbone.module.parameters()} == {torch.float32}


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
    backbone = load_backbone(tmp_path, "image", "cpu", "mean")
    inputs = {"pixel_values": torch.randn(2, 3, 28, 28)}

    with torch.inference_mode():
        found = backbone.read("mean", inputs, None)
        patches = backbone.module(**inputs).last_hidden_state[:, -4:]

    torch.testing.assert_close(found, patches.mean(1))


SIZES = {
    "t5": {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2},
    "bart": {
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_position_embeddings": 40,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    },
}
ENCODER_DECODERS = {
    "T5Model": ("T5Config", "t5"),
    "T5EncoderModel": ("T5Config", "t5"),
    "MT5Model": ("MT5Config", "t5"),
    "BartModel": ("BartConfig", "bart"),
    "MBartForConditionalGeneration": ("MBartConfig", "bart"),
    "MarianMTModel": ("MarianConfig", "bart"),
}


def letters(folder):
    """A tokenizer of letters that ends each text with </s>, and how many words it has."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "</s>", "<unk>", *(chr(code) for code in range(33, 127))]
    made = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    return tokenizer, len(names)


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_of_an_encoder_decoder_the_encoder_is_read_as_the_library_runs_it(name, tmp_path, caplog):
    import transformers

    caplog.set_level("INFO", "sampan")
    tokenizer, num_words = letters(tmp_path)
    config, sizes = ENCODER_DECODERS[name]
    model = getattr(transformers, name)(
        getattr(transformers, config)(vocab_size=num_words, **SIZES[sizes])
    ).eval()
    model.save_pretrained(tmp_path)
    strings = ["flag of Norway", "a", "Kreis"]
    made = Transformers(path=tmp_path, digest=weights_digest(tmp_path), output="mean")

    assert made.check(texts(32)) == []
    found = made.load(texts(32), "cpu")(*text_rows(strings, 32))

    tokens = tokenizer(strings, padding=True, return_tensors="pt", return_token_type_ids=False)
    encoder = model if name.endswith("EncoderModel") else model.get_encoder()
    with torch.no_grad():
        hidden = encoder(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    expected = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert "its encoder alone is read" in caplog.text


def test_the_encoder_of_a_captioning_model_reads_pictures(tmp_path):
    from transformers import (
        BertConfig,
        BertLMHeadModel,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTModel,
    )
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = VisionEncoderDecoderModel(
        encoder=ViTModel(ViTConfig(**sizes, intermediate_size=64, image_size=32, patch_size=8)),
        decoder=BertLMHeadModel(
            BertConfig(**sizes, vocab_size=50, is_decoder=True, add_cross_attention=True)
        ),
    ).eval()
    processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    rows = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    stored = pictures(32, 32, fit="stretch")
    made = Transformers(path=tmp_path, digest=weights_digest(tmp_path), output="cls")

    assert made.check(stored) == []
    found = made.load(stored, "cpu")(rows, None)

    with torch.no_grad():
        hidden = model.encoder(**processor(list(rows), return_tensors="pt")).last_hidden_state
    assert np.allclose(found, hidden[:, 0].numpy(), rtol=1e-4, atol=1e-5)
    ViTImageProcessorPil(size={"height": 48, "width": 48}).save_pretrained(tmp_path)
    (fault,) = made.check(pictures(48, 48, fit="stretch"))
    assert "makes pictures of 48×48 px, vision-encoder-decoder takes 32×32" in fault
