"""Encoders of well-known shapes with random weights, and bare loops around them."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

VIT = {  # width, layers, heads: Dosovitskiy et al. (ICLR 2021), Touvron et al. (ICML 2021)
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
}
WORDS = 20_000
"""Of the vocabulary that captions are made from."""


def vision_transformer(folder: Path, shape: str, batch: int) -> dict[str, Any]:
    """ViT-Ti/16, -S/16 or -B/16 for 224 pixels; its entry in the config."""
    from transformers import ViTConfig, ViTModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    width, layers, heads = VIT[shape]
    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessorPil().save_pretrained(folder)
    return _entry(folder, "cls", batch)


def minilm(folder: Path, batch: int) -> dict[str, Any]:
    """all-MiniLM-L6: 6 layers, 384 wide; a WordPiece vocabulary of the captions' words."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *map(word, range(WORDS))]
    vocabulary += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=256).save_pretrained(folder)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    BertModel(config).save_pretrained(folder)
    return _entry(folder, "mean", batch)


def _entry(folder: Path, output: str, batch: int) -> dict[str, Any]:
    from sampan.weights.digests import weights_digest

    digest = weights_digest(folder)
    return {
        "kind": "transformers",
        "path": str(folder),
        "digest": digest,
        "output": output,
        "batch": batch,
    }


def word(number: int) -> str:
    """One of `WORDS` made-up words of 2 to 9 letters."""
    random = np.random.default_rng(number)
    letters = random.integers(0, 26, random.integers(2, 10))
    return "".join(chr(ord("a") + letter) for letter in letters)


def captions(count: int) -> list[str]:
    """Of 3 to 60 words, 11 in the mean, some words far more often than others, as on the web."""
    random = np.random.default_rng(0)
    words = np.array([word(number) for number in range(WORDS)])
    lengths = np.clip(random.lognormal(np.log(9.5), 0.55, count), 3, 60).astype(int)
    ranks = np.minimum(random.zipf(1.3, lengths.sum()) - 1, WORDS - 1)
    return [" ".join(some) for some in np.split(words[ranks], np.cumsum(lengths)[:-1])]


def bare_pictures(folder: Path, rows: int, batch: int) -> float:
    """Seconds of the model on float tensors that lie in memory."""
    import torch
    from transformers import ViTModel

    model = ViTModel.from_pretrained(folder, use_safetensors=True).eval()
    random = torch.Generator().manual_seed(0)
    pixels = torch.randn((batch, 3, 224, 224), generator=random)
    with torch.inference_mode():
        model(pixel_values=pixels)
        began = time.perf_counter()
        for first in range(0, rows, batch):
            model(pixel_values=pixels[: min(batch, rows - first)]).last_hidden_state[:, 0].numpy()
        return time.perf_counter() - began


def bare_texts(folder: Path, rows: int, batch: int) -> float:
    """Seconds of the model and the mean over tokens, on tokens that are sorted by length."""
    import torch
    from transformers import AutoTokenizer, BertModel

    model = BertModel.from_pretrained(folder, use_safetensors=True).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(captions(rows))["input_ids"]
    tokens.sort(key=len, reverse=True)
    batches = []
    for first in range(0, rows, batch):
        some = tokens[first : first + batch]
        ids = torch.zeros((len(some), len(some[0])), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, found in enumerate(some):
            ids[row, : len(found)] = torch.tensor(found)
            mask[row, : len(found)] = 1
        batches.append((ids, mask))
    with torch.inference_mode():
        model(input_ids=batches[0][0], attention_mask=batches[0][1])
        began = time.perf_counter()
        for ids, mask in batches:
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask.unsqueeze(-1).float()
            ((hidden * weight).sum(1) / weight.sum(1)).numpy()
        return time.perf_counter() - began


def main() -> None:
    """`NAME FOLDER ROWS BATCH`, in a process of its own."""
    bare = {"pictures": bare_pictures, "texts": bare_texts}[sys.argv[1]]
    seconds = bare(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
