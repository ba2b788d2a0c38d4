"""Weights rounded once, to what their products are computed in."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def round_weights(model: "torch.nn.Module") -> None:
    """
    Weights and biases of linear and convolution layers to bfloat16, in place.

    `torch.autocast` rounds the operands of just these, to the same values; of weights that are
    never trained it does so again in every call. Norms, embeddings and what else it leaves in
    float32 stay as they are, and so does a parameter that any of those shares.
    """
    import torch

    rounded = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    modules = list(model.modules())
    kept = {
        id(parameter)
        for module in modules
        if not isinstance(module, rounded)
        for parameter in module.parameters(recurse=False)
    }
    for module in modules:
        if isinstance(module, rounded):
            for parameter in module.parameters(recurse=False):
                if id(parameter) not in kept:
                    parameter.data = parameter.data.to(torch.bfloat16)
