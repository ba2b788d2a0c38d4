"""
From the host to the device that encodes, and back.

On a GPU a batch's bytes go by way of pinned memory on a stream of their own, while the batch before
is computed, and nobody waits for the embeddings until they are asked for. On the CPU all that is
nothing.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sampan.plugins import PendingEmbeddings, ReadyEmbeddings

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

BUFFERS = 2
"""Of pinned memory: one is filled while the other is copied."""


class Transfer(Protocol):
    """The way to a device and back."""

    def send(self, values: "NDArray[Any] | torch.Tensor") -> "torch.Tensor":
        """An array of the host as a tensor of the device; it may be changed afterwards."""
        ...

    def fetch(self, work: "Callable[[], torch.Tensor]") -> PendingEmbeddings:
        """Have `work` done with what was sent, and its float32 result brought back."""
        ...


def transfer_to(device: str) -> Transfer:
    return StreamTransfer(device) if device == "cuda" else HostTransfer()


class HostTransfer:
    """The host itself: its arrays are copied once, since those of a store cannot be written to."""

    def send(self, values: "NDArray[Any] | torch.Tensor") -> "torch.Tensor":
        import numpy as np
        import torch

        if isinstance(values, torch.Tensor):
            return values
        return torch.from_numpy(np.array(values, order="C"))

    def fetch(self, work: "Callable[[], torch.Tensor]") -> PendingEmbeddings:
        return ReadyEmbeddings(work().numpy())


def _event(**settings: bool) -> Any:
    import torch

    return torch.cuda.Event(**settings)  # type: ignore[no-untyped-call] # torch's


class _Pinned:
    """Page-locked memory that the device reads by itself; it grows to the largest batch."""

    def __init__(self) -> None:
        self._bytes: torch.Tensor | None = None
        self.copied = _event()
        """Recorded after the copy that last left this memory."""

    def holding(self, values: "NDArray[Any]") -> "torch.Tensor":
        """A copy of `values` in this memory, once what it held is no longer needed."""
        import numpy as np
        import torch

        self.copied.synchronize()
        if self._bytes is None or len(self._bytes) < values.nbytes:
            self._bytes = torch.empty(values.nbytes, dtype=torch.uint8, pin_memory=True)
        dtype = torch.from_numpy(np.empty(0, values.dtype)).dtype
        held = self._bytes[: values.nbytes].view(dtype).view(values.shape)
        np.copyto(held.numpy(), values)
        return held


class StreamTransfer:
    """
    A GPU: copies to it on one stream, work and copies from it on the current one.

    The work waits for its input by an event, on the device. Pinned memory is used in turn, each
    time after an event says that the copy out of it has ended.
    """

    def __init__(self, device: str = "cuda") -> None:
        import torch

        self._device = device
        self._copies = torch.cuda.Stream()  # type: ignore[no-untyped-call] # torch's
        self._pinned = itertools.cycle([_Pinned() for _ in range(BUFFERS)])

    def send(self, values: "NDArray[Any] | torch.Tensor") -> "torch.Tensor":
        import torch

        pinned = next(self._pinned)
        held = pinned.holding(values.numpy() if isinstance(values, torch.Tensor) else values)
        with torch.cuda.stream(self._copies):
            sent = torch.empty_like(held, device=self._device, pin_memory=False)
            sent.copy_(held, non_blocking=True)
            pinned.copied.record(self._copies)
        work = torch.cuda.current_stream()
        work.wait_event(pinned.copied)
        # it was allocated for the copies' stream, where its memory must not be used anew too soon
        sent.record_stream(work)
        return sent

    def fetch(self, work: "Callable[[], torch.Tensor]") -> PendingEmbeddings:
        import torch

        begun = _event(enable_timing=True)
        # a blocking event lets the host's thread sleep, so that decoders have the core
        ended = _event(enable_timing=True, blocking=True)
        begun.record()
        made = work()
        found = torch.empty(made.shape, dtype=made.dtype, pin_memory=True)
        found.copy_(made, non_blocking=True)
        ended.record()
        return _ComingEmbeddings(found, begun, ended)


@dataclass
class _ComingEmbeddings:
    """On its way into pinned memory of its own, which torch keeps for the next ones."""

    found: "torch.Tensor"
    begun: Any
    ended: Any
    seconds: float | None = None

    def __call__(self) -> "NDArray[np.float32]":
        self.ended.synchronize()
        self.seconds = self.begun.elapsed_time(self.ended) / 1000
        return self.found.numpy()
