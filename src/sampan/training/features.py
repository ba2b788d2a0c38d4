"""What training asks of stored features."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(sample) row numbers, in any order → (sample, embedding)."""
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

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.array[rows].astype(np.float32, copy=False)
