"""What training asks of stored features."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.integer[Any]]
"""(sample) row numbers, in as few bytes as they take."""
Codes = NDArray[np.signedinteger[Any]]
"""(sample) positions in names, or -1; in as few bytes as they take."""


def kind_of_codes(names: int) -> type[np.signedinteger[Any]]:
    """The smallest integers that are positions in so many names, or -1."""
    kinds: tuple[type[np.signedinteger[Any]], ...] = (np.int8, np.int16, np.int32)
    return next(kind for kind in kinds if names <= np.iinfo(kind).max)


class Features(Protocol):
    """One encoder's embeddings of one modality, read by row."""

    @property
    def dimensions(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def rows(self) -> int:
        """Rows of the dataset, valid or not."""
        ...

    def take(self, rows: NDArray[np.int64], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """
        (sample) row numbers, in any order → (sample, embedding) of the float type they are stored
        in, as a new array, or in `out`.
        """
        ...

    def fetch(self, first: int, stop: int) -> None:
        """Rows [first, stop) will be asked for soon, in any order: read them from their files."""
        ...


@dataclass(frozen=True, kw_only=True)
class ArrayFeatures:
    """Features that lie in memory: (sample, embedding) of any float type."""

    array: NDArray[np.floating]

    @property
    def dimensions(self) -> int:
        return int(self.array.shape[1])

    @property
    def rows(self) -> int:
        return int(self.array.shape[0])

    def take(self, rows: NDArray[np.int64], out: NDArray[Any] | None = None) -> NDArray[Any]:
        return np.take(self.array, rows, axis=0, out=out)

    def fetch(self, first: int, stop: int) -> None:
        return
