"""
Write one shard of one array, in a stream.

The file is that of Zarr v3's sharding codec: the inner chunks' raw bytes, then the index of
(offset, bytes) as little-endian uint64 in C order, then the CRC-32C of the index. Memory: one inner
chunk.
"""

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from sampan.errors import StorageError
from sampan.storage.durable import storing, write_all
from sampan.store.layout import ArrayLayout

MISSING = 2**64 - 1


class Written(NamedTuple):
    """A shard's file: its size, and the CRC-32C of all its bytes as 8 hexadecimal digits."""

    bytes: int
    crc32c: str


class ShardWriter:
    """
    Context manager that fills `temporary`, in an outbox, with the rows of one shard, in order.

    `write` takes any number of rows, of the array's dtype and row shape. Nothing is published: that
    is `publish`'s work, after `close` has padded the last chunk, added the index and fsynced.
    `StorageError` where the file cannot be written; the temporary file is then removed.
    """

    def __init__(self, temporary: Path, layout: ArrayLayout) -> None:
        self._layout = layout
        self._temporary = temporary
        self._buffer = np.full(
            (layout.rows_per_chunk, *layout.spec.shape), layout.fill, layout.spec.dtype
        )
        self._filled = 0
        self._index = np.full((layout.chunks_per_shard, 2), MISSING, "<u8")
        self._chunk = 0
        self._offset = 0
        self._crc = 0
        with storing(temporary):
            self._file = temporary.open("wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
            if kind is not None:
                self._temporary.unlink(missing_ok=True)

    def write(self, rows: NDArray[Any]) -> None:
        assert rows.shape[1:] == self._layout.spec.shape, (rows.shape, self._layout.spec)
        assert rows.dtype == np.dtype(self._layout.spec.dtype), (rows.dtype, self._layout.spec)
        start = 0
        while start < len(rows):
            if self._filled == 0 and len(rows) - start >= len(self._buffer):
                self._put(rows[start : start + len(self._buffer)])
                start += len(self._buffer)
                continue
            taken = min(len(rows) - start, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + taken] = rows[start : start + taken]
            self._filled += taken
            start += taken
            if self._filled == len(self._buffer):
                self._put(self._buffer)
                self._filled = 0

    def close(self) -> Written:
        """Pad the last chunk with the fill value, append the index, fsync."""
        if self._filled:
            self._buffer[self._filled :] = self._layout.fill
            self._put(self._buffer)
            self._filled = 0
        index = self._index.tobytes()
        index += google_crc32c.value(index).to_bytes(4, "little")
        self._append(np.frombuffer(index, np.uint8))
        with storing(self._temporary):
            os.fsync(self._file.fileno())
            self._file.close()
        return Written(self._offset, f"{self._crc:08x}")

    def _put(self, chunk: NDArray[Any]) -> None:
        assert self._chunk < len(self._index), "more rows than the shard holds"
        self._index[self._chunk] = (self._offset, chunk.nbytes)
        self._append(np.ascontiguousarray(chunk).reshape(-1).view(np.uint8))
        self._chunk += 1

    def _append(self, data: NDArray[np.uint8]) -> None:
        self._crc = google_crc32c.extend(self._crc, data)
        with storing(self._temporary):
            write_all(self._file, data)
        self._offset += len(data)


def crc32c_of(path: Path) -> str:
    """CRC-32C of a file's bytes, as 8 hexadecimal digits; `StorageError` where it is unreadable."""
    crc = 0
    try:
        with path.open("rb") as file:
            while block := file.read(4 * 2**20):
                crc = google_crc32c.extend(crc, block)
    except OSError as fault:
        raise StorageError(f"{path}: cannot be read: {fault.strerror or fault}") from fault
    return f"{crc:08x}"
