"""
Batches made ahead: rows taken straight from the shards by a thread, and brought to the device.

One thread is enough: taking rows is copying memory, which lets go of Python's lock.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

AHEAD = 2
"""Batches made before they are asked for."""


class RowReader(Protocol):
    """Any array with samples along its first axis: features, or a `Reader` of pixels."""

    def take(self, rows: NDArray[np.int64], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Rows in the order asked for, as a new array, or in `out`."""
        ...


def read_ahead(
    batches: Iterable[NDArray[np.int64]],
    first: int,
    windows: Iterator[tuple[int, list[range]]],
    fetch: Callable[[list[range]], None],
) -> Iterator[NDArray[np.int64]]:
    """
    The batches, which are numbered from `first`, each once `fetch` has brought the windows that it
    needs into the system's cache, stretch after stretch; the next window is fetched meanwhile.
    """
    with ThreadPoolExecutor(1, "sampan-fetch") as pool:
        coming: deque[tuple[int, Future[None]]] = deque()

        def begin(most: int) -> None:
            for number, stretches in islice(windows, most):
                coming.append((number, pool.submit(fetch, stretches)))

        try:
            begin(2)
            for number, rows in enumerate(batches, first):
                while coming and coming[0][0] <= number:
                    coming.popleft()[1].result()
                    begin(1)
                yield rows
        finally:
            pool.shutdown(cancel_futures=True)


class _Batch(NamedTuple):
    rows: NDArray[np.int64]
    inputs: dict[str, Tensor]
    copied: torch.cuda.Event | None


class BatchFeed:
    """
    Context manager and iterator, once, over (rows, name → (sample, …) tensor on the device).

    `batches` are row numbers, as `sampling.batches` gives them; the tensors have the arrays' dtype.
    An exception of the thread is raised where the batch would be taken; the thread has ended when
    the block is left. On a GPU, rows are taken into pinned memory and copied on a stream of their
    own, while the GPU works on the batches before.
    """

    def __init__(
        self,
        arrays: Mapping[str, RowReader],
        batches: Iterable[NDArray[np.int64]],
        *,
        device: str = "cpu",
        ahead: int = AHEAD,
    ) -> None:
        self._arrays, self._batches = arrays, batches
        self._device = torch.device(device)
        self._stream: torch.cuda.Stream | None = None
        if self._device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call] # torch's
        self._memory = {name: _BatchMemory() for name in arrays}
        self._room = threading.Semaphore(ahead)
        self._ready: SimpleQueue[_Batch | BaseException | None] = SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="sampan-feed")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._room.release()
        self._thread.join()

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], dict[str, Tensor]]]:
        while (batch := self._ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            self._room.release()
            if batch.copied is not None:
                working = torch.cuda.current_stream(self._device)
                working.wait_event(batch.copied)
                for tensor in batch.inputs.values():
                    tensor.record_stream(working)
            yield batch.rows, batch.inputs

    # In the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            for rows in self._batches:
                self._room.acquire()
                if self._stopped:
                    return
                self._ready.put(self._make(rows))
        except BaseException as fault:  # it is raised where the batches are taken
            self._ready.put(fault)
        else:
            self._ready.put(None)

    def _make(self, rows: NDArray[np.int64]) -> _Batch:
        if self._stream is None:
            inputs = {
                name: self._memory[name].take(array, rows).to(self._device)
                for name, array in self._arrays.items()
            }
            return _Batch(rows, inputs, None)
        with torch.cuda.stream(self._stream):
            inputs = {
                name: _pinned(array, rows).to(self._device, non_blocking=True)
                for name, array in self._arrays.items()
            }
        return _Batch(rows, inputs, self._stream.record_event())


class _BatchMemory:
    """
    Memory that is used again once a batch in it is looked at no more.

    The system gives fresh memory page by page; for batches of pixels that takes a third of the
    time.
    """

    def __init__(self) -> None:
        self._free: deque[NDArray[Any]] = deque()

    def take(self, array: RowReader, rows: NDArray[np.int64]) -> Tensor:
        if self._free and len(self._free[0]) >= len(rows):
            whole = self._free.popleft()
            batch = whole[: len(rows)]
            array.take(rows, out=batch)
        else:
            self._free.clear()
            whole = array.take(rows)
            batch = whole[:]
        # The tensor holds `batch`, so that this is called when all tensors that share it are gone.
        weakref.finalize(batch, self._free.append, whole).atexit = False
        return torch.from_numpy(batch)


def _pinned(array: RowReader, rows: NDArray[np.int64]) -> Tensor:
    """Rows in pinned memory, which torch keeps for the next batch once this one is copied."""
    like = torch.from_numpy(array.take(rows[:0]))
    found = torch.empty((len(rows), *like.shape[1:]), dtype=like.dtype, pin_memory=True)
    array.take(rows, out=found.numpy())
    return found
