"""A model's last layer → embeddings, by the modules of sentence-transformers."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sampan.encoders.pretrained.sentence import Layer, Sentence

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True)
class SentenceHead:
    """(sample, token, feature) and which tokens are text → (sample, embedding) float32."""

    sentence: Sentence
    prompt_tokens: int
    """Leading tokens that are left out of the pooling."""
    device: str
    weights: list["dict[str, torch.Tensor]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        from safetensors.torch import load_file

        self.weights = [
            {n: t.to(self.device).float() for n, t in load_file(layer.file).items()}
            if layer.file
            else {}
            for layer in self.sentence.layers
        ]

    def __call__(self, hidden: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
        import torch

        hidden, text = hidden.float(), mask
        if self.prompt_tokens:
            text = mask.clone()
            text[:, : self.prompt_tokens] = 0
        found = torch.cat([_pool(mode, hidden, text) for mode in self.sentence.modes], dim=1)
        for layer, weights in zip(self.sentence.layers, self.weights, strict=True):
            found = _applied(layer, weights, found)
        return found.float()


def _pool(mode: str, hidden: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    """
    As the library's `Pooling`: `weightedmean` by the place, from 1 (Muennighoff, arXiv:2202.08904);
    `mean_sqrt_len_tokens` the sum over the root of the number of tokens.
    """
    import torch

    rows, weight = torch.arange(len(hidden)), mask.unsqueeze(-1).to(hidden.dtype)
    if mode == "cls":
        return hidden[rows, mask.to(torch.int32).argmax(1)]
    if mode == "max":
        return hidden.masked_fill(weight == 0, -torch.inf).amax(1)
    if mode == "lasttoken":
        last = mask.shape[1] - 1 - mask.flip(1).to(torch.int32).argmax(1)
        return (hidden * weight)[rows, last]
    if mode == "weightedmean":
        places = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=hidden.dtype)
        weight = weight * places[:, None]
    total = weight.sum(1).clamp(min=1e-9)
    if mode == "mean_sqrt_len_tokens":
        total = total.sqrt()
    return (hidden * weight).sum(1) / total


def _applied(
    layer: Layer, weights: "dict[str, torch.Tensor]", rows: "torch.Tensor"
) -> "torch.Tensor":
    import torch
    from torch.nn import functional

    if layer.kind == "Normalize":
        return functional.normalize(rows, dim=-1)
    if layer.kind == "LayerNorm":
        return functional.layer_norm(
            rows, rows.shape[1:], weights["norm.weight"], weights["norm.bias"]
        )
    linear = functional.linear(rows, weights["linear.weight"], weights.get("linear.bias"))
    found: torch.Tensor = getattr(torch.nn, layer.activation)()(linear)
    if layer.residual:
        kept = weights.get("residual.weight")
        found = found + (rows if kept is None else functional.linear(rows, kept))
    return found
