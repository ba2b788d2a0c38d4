"""Texts of the index that xarray reads when they are looked at."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

ROWS_AT_ONCE = 8192
"""That are read where single rows are asked for."""


class IndexText(BackendArray):
    """(sample) of text, None where there is none."""

    Read = Callable[[range], Iterator[tuple[int, NDArray[np.object_]]]]
    """Rows → their texts in order, some at a time, each with the number of its first row."""

    dtype = np.dtype(object)

    def __init__(self, rows: int, read: Read) -> None:
        self.shape = (rows,)
        self._read = read

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._take
        )

    def _take(self, key: tuple[Any, ...]) -> Any:
        (rows,) = key
        if isinstance(rows, slice):
            wanted = range(*rows.indices(self.shape[0]))
            if not wanted:
                return np.empty(0, object)
            low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
            return self._between(low, high + 1)[:: abs(wanted.step)][:: np.sign(wanted.step)]
        if isinstance(rows, int | np.integer):
            return self._between(int(rows), int(rows) + 1)[0]
        return self._at(np.asarray(rows))

    def _between(self, first: int, stop: int) -> NDArray[np.object_]:
        out = np.empty(stop - first, object)
        for start, some in self._read(range(first, stop)):
            out[start - first : start - first + len(some)] = some
        return out

    def _at(self, rows: NDArray[np.int64]) -> NDArray[np.object_]:
        order = np.argsort(rows, kind="stable")
        ordered, at = rows[order], 0
        out = np.empty(len(rows), object)
        while at < len(ordered):
            first = int(ordered[at])
            stop = int(np.searchsorted(ordered, first + ROWS_AT_ONCE))
            read = self._between(first, int(ordered[stop - 1]) + 1)
            out[order[at:stop]] = read[ordered[at:stop] - first]
            at = stop
        return out


def lazy_text(rows: int, read: IndexText.Read) -> Any:
    """For a variable of xarray; what was read once is kept."""
    lazy = indexing.LazilyIndexedArray(IndexText(rows, read))
    return indexing.MemoryCachedArray(lazy)  # type: ignore[no-untyped-call] # xarray's
