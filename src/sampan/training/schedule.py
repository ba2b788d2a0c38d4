"""Learning rate and weight decay."""

import math

import torch
from torch import nn


def learning_rate(step: int, *, steps: int, warmup_fraction: float, peak: float) -> float:
    """
    Linear warm-up to `peak`, then a cosine to 0.

    `step` counts from 0; the rate is `peak` at the last step of the warm-up (the first step where
    there is none) and would be 0 at `steps`. Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5,
    without restarts; warm-up as in Goyal et al., arXiv:1706.02677, section 2.2.
    """
    warmup = int(steps * warmup_fraction)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def optimiser(model: nn.Module, *, weight_decay: float) -> torch.optim.AdamW:
    """
    AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2).

    Matrices decay; biases, temperatures and other vectors do not.
    """
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        foreach=False,
    )
