"""Tiny models with random weights, saved as a user's folder would be."""

import os
from pathlib import Path
from typing import Any

import pytest
from encoders import exported

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"


LAYERS = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.2,
}
CHARACTERS = [chr(code) for code in range(33, 127)]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    letters = [*CHARACTERS, *(letter + "</w>" for letter in CHARACTERS), "th", "the</w>"]
    names = ["<|startoftext|>", *letters, "<|endoftext|>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = CLIPTokenizer(
        vocab=vocabulary, merges=[("t", "h"), ("th", "e</w>")], model_max_length=20
    )
    ids = {"bos_token_id": 0, "eos_token_id": len(names) - 1, "pad_token_id": len(names) - 1}
    text = LAYERS | ids | {"vocab_size": len(names), "max_position_embeddings": 20}
    vision = LAYERS | {"image_size": 224, "patch_size": 32}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}
    )
    return _saved(tmp_path_factory, model, processor, tokenizer)


@pytest.fixture(scope="session")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    names = ["</s>", "<unk>", *CHARACTERS]
    made = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
        model_max_length=16,
        model_input_names=["input_ids"],
    )
    text = LAYERS | {"vocab_size": len(names), "max_position_embeddings": 16}
    vision = LAYERS | {"image_size": 224, "patch_size": 32}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    processor = SiglipImageProcessorPil(size={"height": 224, "width": 224})
    return _saved(tmp_path_factory, model, processor, tokenizer)


@pytest.fixture(scope="session")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Dinov2Config, Dinov2Model
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

    model = Dinov2Model(Dinov2Config(**LAYERS, image_size=224, patch_size=32))
    processor = BitImageProcessorPil(
        size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}
    )
    return _saved(tmp_path_factory, model, processor)


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel, BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = [*special, *CHARACTERS, *("##" + letter for letter in CHARACTERS), "flag", "of"]
    tokenizer = BertTokenizer(vocab={n: i for i, n in enumerate(names)}, model_max_length=32)
    model = BertModel(BertConfig(**LAYERS, vocab_size=len(names), max_position_embeddings=40))
    return _saved(tmp_path_factory, model, tokenizer)


@pytest.fixture(scope="session")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _clap(tmp_path_factory, fusion=False)


@pytest.fixture(scope="session")
def fused_clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _clap(tmp_path_factory, fusion=True)


def _clap(tmp_path_factory: pytest.TempPathFactory, *, fusion: bool) -> Path:
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    names = [*special, *CHARACTERS, "Ġ"]
    tokenizer = RobertaTokenizer(
        vocab={n: i for i, n in enumerate(names)}, merges=[], model_max_length=30
    )
    text = LAYERS | {"vocab_size": len(names), "max_position_embeddings": 32, "pad_token_id": 1}
    audio = {
        "spec_size": 64,
        "num_mel_bins": 16,
        "window_size": 4,
        "patch_size": 2,
        "patch_stride": [2, 2],
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "enable_fusion": fusion,
        "fusion_type": "aff_2d" if fusion else None,
        "initializer_range": 0.2,
    }
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=24))
    extractor = ClapFeatureExtractor(
        feature_size=16, max_length_s=1, truncation="fusion" if fusion else "rand_trunc"
    )
    return _saved(tmp_path_factory, model, extractor, tokenizer)


def _wav2vec2(tmp_path_factory: pytest.TempPathFactory, norm: str) -> Path:
    """`norm`: "group" (trained without a mask) or "layer" (with one)."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    config = Wav2Vec2Config(
        **LAYERS,
        conv_dim=(16, 16, 16),
        conv_stride=(5, 4, 4),
        conv_kernel=(10, 8, 4),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
    )
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")
    return _saved(tmp_path_factory, Wav2Vec2Model(config), extractor)


@pytest.fixture(scope="session")
def wav2vec2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _wav2vec2(tmp_path_factory, "group")


@pytest.fixture(scope="session")
def masked_wav2vec2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _wav2vec2(tmp_path_factory, "layer")


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(
        vocab_size=64,
        num_mel_bins=20,
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=64,
        max_source_positions=150,
        max_target_positions=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        init_std=0.2,
    )
    extractor = WhisperFeatureExtractor(feature_size=20, chunk_length=3)
    return _saved(tmp_path_factory, WhisperModel(config), extractor)


@pytest.fixture(scope="session")
def onnx_clip(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.clip(clip, tmp_path_factory.mktemp("onnx-clip"))


@pytest.fixture(scope="session")
def onnx_bert(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.bert(bert, tmp_path_factory.mktemp("onnx-bert"))


@pytest.fixture(scope="session")
def onnx_wav2vec2(masked_wav2vec2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.wav2vec2(masked_wav2vec2, tmp_path_factory.mktemp("onnx-wav2vec2"))


def _saved(tmp_path_factory: pytest.TempPathFactory, model: Any, *others: Any) -> Path:
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp(type(model).__name__.lower())
    for part in (model, *others):
        part.save_pretrained(folder)
    return folder
