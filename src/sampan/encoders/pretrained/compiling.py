"""torch.compile, of one module, for batches of any size."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sampan.errors import PluginError

if TYPE_CHECKING:
    import torch


def compile_module(module: "torch.nn.Module", device: str) -> None:
    """
    Have the module compiled when it is first called; `PluginError` where nothing can compile.

    In this process alone, beside the threads that were granted.
    """
    import torch
    from torch._inductor import config, cpp_builder
    from torch.utils._triton import has_triton

    try:
        cpp_builder.get_cpp_compiler()
    except RuntimeError as fault:
        tried = os.environ.get("CXX", "g++")
        raise _missing(f"no C++ compiler that works was found ({tried})") from fault
    if device == "cuda" and not has_triton():
        raise _missing(f"torch {torch.__version__} finds no Triton for this GPU")
    config.compile_threads = 1
    module.compile()


def _missing(what: str) -> PluginError:
    return PluginError(
        f"compile: true, but {what}; make one available in the job (module load gcc, CXX), or "
        "leave compile out"
    )


@contextmanager
def compiling() -> Iterator[None]:
    """What goes wrong while a module is compiled becomes a `PluginError`; memory does not."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as fault:
        reason = str(fault).strip().splitlines() or [type(fault).__name__]
        raise PluginError(
            f"compile: true, but this model does not compile: {reason[0]}; leave compile out"
        ) from fault


def of_any_size(inputs: "Iterable[torch.Tensor]", *, by_length: bool) -> None:
    """
    Let one compiled form serve batches of any number of rows, and of any length.

    A batch is short at a shard's end, where rows are not valid, and after memory ran out; a form
    for each size would be compiled for a minute, for a few calls.
    """
    import torch

    for values in inputs:
        torch._dynamo.maybe_mark_dynamic(values, 0)
        if by_length:
            torch._dynamo.maybe_mark_dynamic(values, values.ndim - 1)
