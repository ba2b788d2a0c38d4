"""Stored texts → what a text encoder takes, by its own tokenizer."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.encoders.weights import offline, refuse_missing_tokenizer

if TYPE_CHECKING:
    import torch


def tokenizer_of(path: Path) -> Any:
    """The folder's tokenizer, padding on the right."""
    refuse_missing_tokenizer(path)
    with offline(path):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def most_tokens(path: Path, tokenizer: Any, tower: Any) -> int | None:
    """
    Tokens that tokenizer, model and sentence-transformers' setting all allow; None without a limit.

    `tower` is the text model: positions of RoBERTa and its kind start after the padding index.
    """
    limits = [tokenizer.model_max_length]
    positions = getattr(tower.config, "max_position_embeddings", None)
    if positions is not None:
        table = getattr(getattr(tower, "embeddings", None), "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)
        limits.append(positions if padding is None else positions - padding - 1)
    setting = path / "sentence_bert_config.json"
    if setting.is_file():
        limits.append(json.loads(setting.read_bytes()).get("max_seq_length") or limits[0])
    least = min(limits)
    # tokenizers without a limit of their own say 1e30
    return int(least) if least < 1 << 31 else None


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Strings → what the model takes (sample, token), and which tokens are text."""

    tokenizer: Any
    most: int | None
    """Tokens of one text at most; the rest of a longer text is cut off, as the library does."""
    pad_to_most: bool
    """SigLIP was trained with all texts at full length, and without a mask."""

    @property
    def pads(self) -> bool:
        """Whether a batch is as long as its longest text."""
        return not self.pad_to_most

    def __call__(self, strings: list[str]) -> "tuple[dict[str, torch.Tensor], torch.Tensor]":
        made = self.tokenizer(
            strings,
            padding="max_length" if self.pad_to_most else True,
            truncation=self.most is not None,
            max_length=self.most,
            return_attention_mask=True,
            return_tensors="pt",
        )
        names = self.tokenizer.model_input_names
        return {name: made[name] for name in names if name in made}, made["attention_mask"]
