"""Stored texts → what a text encoder takes, by its own tokenizer."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.encoders.pretrained.offline import offline
from sampan.encoders.pretrained.sentence import sentence_of
from sampan.errors import ConfigError
from sampan.weights.folder import refuse_missing_tokenizer, tokenizer_files
from sampan.weights.integrity import read_json

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


def tokenizer_of(path: Path) -> Any:
    """
    The folder's tokenizer, padding on the right; in lower case where sentence-transformers' setting
    says so. `ConfigError` where it cannot be read, or has no token to pad with.
    """
    refuse_missing_tokenizer(path)
    sentence = sentence_of(path)
    with offline(path, f"its tokenizer ({', '.join(tokenizer_files(path))})"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
        tokenizer.padding_side = "right"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if sentence is not None and sentence.lower:
            _lower(tokenizer.backend_tokenizer)
    if tokenizer.pad_token_id is None:
        raise ConfigError(f"{path}: its tokenizer has no pad_token; name one in its settings")
    return tokenizer


def _lower(backend: Any) -> None:
    from tokenizers.normalizers import Lowercase, Sequence

    there = backend.normalizer
    backend.normalizer = Sequence([Lowercase(), there] if there else [Lowercase()])


def prompt_tokens(tokenizer: Any, prompt: str) -> int:
    """Tokens that a prompt puts before a text, without the one that ends it."""
    if not prompt:
        return 0
    numbers = tokenizer(prompt)["input_ids"]
    return len(numbers) - (numbers[-1] in tokenizer.all_special_ids)


def vocabulary_faults(path: Path, tokenizer: Any, module: Any, name: str) -> list[str]:
    """Why the model `name` cannot take every token: an embedding that is not there."""
    table = getattr(module, "get_input_embeddings", lambda: None)()
    rows = getattr(table, "num_embeddings", None)
    if rows is None:
        return []
    words = tokenizer.get_vocab()
    words |= {str(word): number for word, number in _special(tokenizer).items()}
    beyond = sorted((number, word) for word, number in words.items() if number >= rows)
    if not beyond:
        return []
    first, word = beyond[0]
    count = f"{len(beyond):,} tokens have" if len(beyond) > 1 else "a token has"
    return [
        f"{path}: tokenizer and model do not fit: {name} has {rows:,} embeddings (vocab_size), "
        f"{count} a number beyond them, such as {first:,} ({word[:40]!r}); take both from one model"
    ]


def _special(tokenizer: Any) -> dict[str, int]:
    words, numbers = tokenizer.all_special_tokens, tokenizer.all_special_ids
    return dict(zip(words, numbers, strict=True))


def most_tokens(path: Path, tokenizer: Any, module: Any) -> int | None:
    """
    Tokens that tokenizer, model and sentence-transformers' setting all allow; None without a limit.

    With modules.json its setting stands in place of the tokenizer's, as the library has it.

    `module` is the text model: positions of RoBERTa and its kind start after the padding index.
    """
    limits = [tokenizer.model_max_length]
    if not isinstance(limits[0], int | float) or not limits[0] >= 1:
        raise ConfigError(f"{path}: model_max_length: {limits[0]!r} is no number of tokens")
    positions = getattr(module.config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:  # XLNet says -1
        table = getattr(getattr(module, "embeddings", None), "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)
        limits.append(positions if padding is None else positions - padding - 1)
    sentence = sentence_of(path)
    setting = path / "sentence_bert_config.json"
    if sentence is not None and sentence.most is not None:
        limits[0] = sentence.most
    elif sentence is None and setting.is_file():
        said = read_json(setting).get("max_seq_length")
        limits.append(said if isinstance(said, int) and said > 0 else limits[0])
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
    prompt: str = ""
    """Put before each text."""

    @property
    def pads(self) -> bool:
        """Whether a batch is as long as its longest text."""
        return not self.pad_to_most

    def __call__(self, strings: list[str]) -> "tuple[dict[str, torch.Tensor], torch.Tensor]":
        return self.padded(*self.split(strings))

    def split(self, strings: list[str]) -> "tuple[NDArray[np.int32], NDArray[np.int32]]":
        """
        (sample, name, token), as long as the longest text, and tokens of each; `names` say which.
        """
        import numpy as np

        made = self.tokenizer(
            [self.prompt + text for text in strings] if self.prompt else strings,
            padding="max_length" if self.pad_to_most else True,
            truncation=self.most is not None,
            max_length=self.most,
            return_attention_mask=True,
            return_tensors="np",
        )
        tokens = np.stack([made[name] for name in self.names], axis=1).astype(np.int32)
        return tokens, made["attention_mask"].sum(1).astype(np.int32)

    def padded(
        self, tokens: "NDArray[np.int32]", used: "NDArray[np.int32]"
    ) -> "tuple[dict[str, torch.Tensor], torch.Tensor]":
        """What `split` gave of some texts, no longer than their longest."""
        import numpy as np
        import torch

        longest = tokens.shape[2] if self.pad_to_most else int(used.max())
        mask = (np.arange(longest) < used[:, None]).astype(np.int64)
        made = {
            name: torch.from_numpy(np.ascontiguousarray(tokens[:, place, :longest], np.int64))
            for place, name in enumerate(self.names)
        }
        if "attention_mask" in self.tokenizer.model_input_names:
            made["attention_mask"] = torch.from_numpy(mask)
        return made, torch.from_numpy(mask)

    @cached_property
    def names(self) -> list[str]:
        """What the model takes of each token beside the mask: its number, its sentence."""
        made = self.tokenizer("a", return_attention_mask=True)
        wanted = self.tokenizer.model_input_names
        return [name for name in wanted if name in made and name != "attention_mask"]
