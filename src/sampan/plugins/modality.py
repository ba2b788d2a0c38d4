"""What a modality is: the bytes of one sample → one row of an array."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ArraySpec(NamedTuple):
    """One row of a stored array: `dims`, `shape` and `dtype` without the leading `sample`."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str


class Decoded(NamedTuple):
    """What a decoder tells of one sample: elements used of the row, and what to count ("cut")."""

    length: int | None = None
    notes: tuple[str, ...] = ()


class Shortened(Decoded):
    """The same of a sample that is known to have had `whole` elements, more than its row holds."""

    whole: int

    @classmethod
    def of(cls, length: int, notes: tuple[str, ...], whole: int) -> "Shortened":
        found = cls(length, notes)
        found.whole = whole
        return found


class Modality(Protocol):
    """Bytes of one sample → one row of the canonical array."""

    cell: ClassVar[Literal["path", "value"]]
    """What a table's cell holds unless the config says otherwise."""
    workers: ClassVar[Literal["threads", "processes"]]
    """`processes` where a decoder may crash, hang or hold the interpreter's lock."""
    has_length: ClassVar[bool]
    """Whether `decode` says how many elements of the row's first dimension are used."""
    max_bytes: int
    """Source bytes of one sample at most; checked before reading."""

    def array(self) -> ArraySpec: ...

    def memory_bytes(self) -> int:
        """Working memory of one `decode` at most, in bytes, beside `out` and the source bytes."""
        ...

    def decode(self, data: bytes, out: "NDArray[Any]") -> Decoded:
        """Fill `out` (shape and dtype of `array()`, zeroed), or raise `InvalidSample`."""
        ...


@runtime_checkable
class SampledInTime(Protocol):
    """A modality whose rows are samples of a signal."""

    rate_hz: float


@runtime_checkable
class FitsPictures(Protocol):
    """A modality that brings pictures of any shape to one size."""

    fit: Literal["crop", "stretch"]
