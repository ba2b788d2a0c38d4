"""
Read rows of sharded arrays through memory maps.

The index of every shard is checked against its CRC-32C and the file's size when it is opened; the
payload is not (`sampan verify --deep` does). A shard that is missing, damaged or shorter than the
rows asked for is a `StorageError`, never fill values. Only for arrays that sampan wrote: raw
chunks, one along each axis but `sample`.
"""

import mmap
from collections import OrderedDict
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from sampan.errors import StorageError
from sampan.store.layout import ArrayLayout
from sampan.store.shard import MISSING

MAPS_KEPT = 256


class Reader:
    """Rows of one array, from the shards in `folder`."""

    def __init__(self, folder: Path, layout: ArrayLayout) -> None:
        self._folder = folder
        self._layout = layout
        self._shards: OrderedDict[int, NDArray[Any]] = OrderedDict()

    @property
    def layout(self) -> ArrayLayout:
        return self._layout

    def rows(self, first: int, stop: int) -> NDArray[Any]:
        """Rows [first, stop): a read-only view where they lie in one shard, else a copy."""
        assert 0 <= first <= stop, (first, stop)
        size = self._layout.rows_per_shard
        pieces = []
        while first < stop:
            shard, start = divmod(first, size)
            end = min(stop - shard * size, size)
            pieces.append(self._held(shard, end)[start:end])
            first += end - start
        return pieces[0] if len(pieces) == 1 else np.concatenate([self._empty(), *pieces])

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Rows in the order asked for, as a new array."""
        assert not np.any(rows < 0), rows.min()
        out = np.empty((len(rows), *self._layout.spec.shape), self._layout.spec.dtype)
        shards, offsets = np.divmod(rows, self._layout.rows_per_shard)
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            out[here] = self._held(int(shard), int(offsets[here].max()) + 1)[offsets[here]]
        return out

    def shard(self, number: int) -> NDArray[Any]:
        """All rows of a shard that are stored, as a view of its memory map where possible."""
        if number in self._shards:
            self._shards.move_to_end(number)
            return self._shards[number]
        self._shards[number] = found = self._open(number)
        if len(self._shards) > MAPS_KEPT:
            self._shards.popitem(last=False)
        return found

    def _held(self, number: int, rows: int) -> NDArray[Any]:
        """A shard that holds `rows` rows at least."""
        found = self.shard(number)
        if len(found) < rows:
            path = self._folder / self._layout.shard_file(number)
            raise StorageError(f"{path}: holds {len(found):,} rows; {rows:,} are needed")
        return found

    def _empty(self) -> NDArray[Any]:
        return np.empty((0, *self._layout.spec.shape), self._layout.spec.dtype)

    def _open(self, number: int) -> NDArray[Any]:
        path = self._folder / self._layout.shard_file(number)
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise StorageError(f"{path}: is missing; run: sampan verify --repair") from None
        except (OSError, ValueError) as fault:
            raise StorageError(f"{path}: cannot be read: {fault}") from fault
        chunks = self._chunks(path, data)
        nbytes = self._layout.rows_per_chunk * self._layout.row_bytes
        contiguous = all(offset == i * nbytes for i, offset in enumerate(chunks))
        whole = memoryview(data)
        if contiguous:
            raw = np.frombuffer(whole[: len(chunks) * nbytes], self._layout.spec.dtype)
        else:
            raw = np.frombuffer(
                b"".join(whole[offset : offset + nbytes] for offset in chunks),
                self._layout.spec.dtype,
            )
        return raw.reshape(-1, *self._layout.spec.shape)

    def _chunks(self, path: Path, data: mmap.mmap) -> list[int]:
        """Offsets of a shard's leading stored chunks, checked."""
        size = 16 * self._layout.chunks_per_shard
        if len(data) < size + 4:
            raise StorageError(f"{path}: has {len(data):,} bytes, too few for its index")
        index, checksum = data[-size - 4 : -4], data[-4:]
        if google_crc32c.value(index).to_bytes(4, "little") != checksum:
            raise StorageError(f"{path}: its index is damaged; run: sampan verify --repair")
        nbytes = self._layout.rows_per_chunk * self._layout.row_bytes
        offsets = []
        for offset, length in np.frombuffer(index, "<u8").reshape(-1, 2).tolist():
            if offset == MISSING:
                break
            if length != nbytes or offset + length > len(data) - size - 4:
                raise StorageError(f"{path}: its index points outside of the file")
            offsets.append(offset)
        return offsets
