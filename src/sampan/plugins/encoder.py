"""
What an encoder is: a batch of one modality → embeddings.

`Encoder` and `Encode` are what each has to be. The other protocols are what one may be besides, a
capability each: whoever wants it asks with `isinstance`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from sampan.plugins.modality import Modality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Device = Literal["cpu", "cuda"]


class Encoder(Protocol):
    """The settings of an encoder, and how it is loaded."""

    kinds: ClassVar[tuple[str, ...]]
    """Kinds of modality that it takes."""
    workers: ClassVar[Literal["processes", "one"]]
    """
    How it shares the threads of a job on the CPU. `processes`: one thread each; `one`: a single
    process that uses them all. On GPUs there is a process for each, whatever this says.
    """
    devices: ClassVar[tuple[Device, ...]]
    """Where it can work: `("cpu",)`, or `("cpu", "cuda")` where a GPU makes it fast."""

    @property
    def batch(self) -> int | Literal["auto"]:
        """Rows in a batch at most; `auto` leaves it to the job."""
        ...

    def memory_bytes(self) -> int:
        """Memory of one worker at most, in bytes; from the settings alone."""
        ...

    def check(self, modality: Modality) -> list[str]:
        """Why this modality cannot serve, with the setting to change; may read small files."""
        ...

    def load(self, modality: Modality, device: str) -> "Encode": ...


@runtime_checkable
class KnowsDimensions(Protocol):
    """An encoder whose settings tell how long its embeddings are."""

    def dimensions_for(self, modality: Modality) -> int:
        """Of embeddings of this modality; no array library is imported."""
        ...


@runtime_checkable
class GrowsWithRows(Protocol):
    """An encoder whose working memory grows with the length or the size of a row."""

    def row_memory_bytes(self, modality: Modality) -> int:
        """
        As `memory_bytes`, with rows of this modality; from the settings alone. The rows themselves
        do not count.
        """
        ...


@runtime_checkable
class DecidesDecoding(Protocol):
    """An encoder whose own files decide how a modality that is not stored has to be decoded."""

    @classmethod
    def largest_decoding(cls, kind: str) -> Mapping[str, Any]:
        """
        The settings of a kind of modality that it decides, each with its largest value, for
        planning; none where it takes that kind as it is given.
        """
        ...

    def decoding(self, kind: str) -> Mapping[str, Any]:
        """The same settings as its files have them; reads small files. `ConfigError` for faults."""
        ...


class Encode(Protocol):
    """A loaded encoder: called on batches of valid rows of one modality's array."""

    dimensions: int

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.float32]":
        """(sample, …) and (sample) → (sample, embedding)."""
        ...


@runtime_checkable
class PadsRows(Protocol):
    """
    A loaded encoder that pads the rows of a batch, so that each costs as much as the longest: rows
    come in an order of their lengths, and more of them where they are short.
    """

    row_overhead: int
    """Elements that a row costs beside its length: its first and last token, its part of a call."""


@runtime_checkable
class PreparesRows(Protocol):
    """
    A loaded encoder that first makes something shorter of a row, many rows together: tokens of a
    text. Batches are cut by what it gives, which is then what calls get.
    """

    def prepare(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "tuple[NDArray[Any], NDArray[np.int32]]":
        """The arguments of a call → (row, …), and the elements used of each (row)."""
        ...


class PendingEmbeddings(Protocol):
    """Embeddings on their way to the host; called once, it waits for them."""

    seconds: float | None
    """That the device worked at them, known once they are there; None where nobody measured."""

    def __call__(self) -> "NDArray[np.float32]":
        """(sample, embedding)."""
        ...


@dataclass
class ReadyEmbeddings:
    """Pending embeddings that are there already."""

    found: "NDArray[np.float32]"
    seconds: float | None = None

    def __call__(self) -> "NDArray[np.float32]":
        return self.found


@runtime_checkable
class QueuesBatches(Protocol):
    """A loaded encoder whose GPU need not wait between batches."""

    def begin(self, data: "NDArray[Any]", length: "NDArray[np.int32] | None") -> PendingEmbeddings:
        """
        As a call, but it comes back once the work is queued and `data` is no longer needed. What it
        gives is called after `begin` was called with the next batch.
        """
        ...
