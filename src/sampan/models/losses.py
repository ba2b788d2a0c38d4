"""Losses, each as its paper writes it; cross entropy and mean square error are torch's own."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

MAX_SCALE = 100.0
"""Highest inverse temperature, as in CLIP."""


def same_content(first: Tensor, second: Tensor) -> Tensor:
    """
    Pairs of a batch that must not count as negatives: (sample, sample) bool, never the diagonal.

    `first` and `second` (sample) number the contents of two modalities. Where samples i and j hold
    the same content in either, the one's counterpart is as right for the other as its own.
    """
    same = (first[:, None] == first[None, :]) | (second[:, None] == second[None, :])
    return same.fill_diagonal_(False)


def infonce(first: Tensor, second: Tensor, *, scale: Tensor, ignored: Tensor) -> Tensor:
    """
    The symmetric softmax loss of CLIP (Radford et al., arXiv:2103.00020, figure 3).

    `first`, `second` (sample, embedding) of unit length; `scale` is the inverse temperature. Pairs
    in `ignored` (sample, sample) are left out of the softmax's denominator.
    """
    logits = (scale * first @ second.T).masked_fill(ignored, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    there = functional.cross_entropy(logits, target)
    back = functional.cross_entropy(logits.T, target)
    return (there + back) / 2


def siglip(
    first: Tensor, second: Tensor, *, scale: Tensor, bias: Tensor, ignored: Tensor
) -> Tensor:
    """
    The sigmoid loss of Zhai et al., arXiv:2303.15343, algorithm 1: a sum over pairs / samples.

    As `infonce`, with a bias; pairs in `ignored` are left out of the sum.
    """
    logits = scale * first @ second.T + bias
    signs = 2 * torch.eye(len(logits), device=logits.device, dtype=logits.dtype) - 1
    terms = -functional.logsigmoid(signs * logits)
    return terms.masked_fill(ignored, 0.0).sum() / len(logits)


def contrastive(
    embeddings: Mapping[str, Tensor],
    contents: Mapping[str, Tensor],
    *,
    scale: Tensor,
    bias: Tensor | None,
) -> Tensor:
    """The mean over all pairs of modalities of `siglip`, or of `infonce` where there is no bias."""
    losses = []
    for one, other in combinations(embeddings, 2):
        ignored = same_content(contents[one], contents[other])
        pair = embeddings[one], embeddings[other]
        losses.append(
            infonce(*pair, scale=scale, ignored=ignored)
            if bias is None
            else siglip(*pair, scale=scale, bias=bias, ignored=ignored)
        )
    return torch.stack(losses).mean()
