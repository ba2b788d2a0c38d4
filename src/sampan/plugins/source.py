"""What a source is: a raw format → rows of cells."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable


class Cells(NamedTuple):
    """Some rows of a source, in order; a row with a `reason` cannot be used."""

    keys: list[str]
    columns: dict[str, list[Any]]
    reasons: list[str | None]
    offsets: list[int]
    """Where to start reading for this row: a byte offset, or a row number."""


class Source(Protocol):
    """A raw format → rows of cells, in an order that never changes."""

    def files(self) -> list[Path]:
        """The files in row order, or a `DataError` that says what is missing."""
        ...

    def root_of(self, file: Path) -> Path:
        """The folder to which paths in the cells of `file` are relative."""
        ...

    def stamp(self, file: Path) -> str:
        """What changes with a file that a scan need not read whole; empty where it reads it all."""
        ...

    def read(
        self, file: Path, columns: tuple[str, ...], *, start: int = 0, rows: int = 8192
    ) -> Iterator[Cells]:
        """Batches of at most `rows` rows from the offset `start` on, with the key and `columns`."""
        ...


@runtime_checkable
class TypedSource(Protocol):
    """A source whose columns may have types that are known before a row is read."""

    def type_faults(self, file: Path, columns: Mapping[str, str]) -> list[str]:
        """A line for each use whose column (use → column) cannot hold one text or number a row."""
        ...


@runtime_checkable
class SelectiveSource(Protocol):
    """A source that leaves out rows, and can say why none is left."""

    def why_no_rows(self) -> list[str]: ...
