"""
Read rows of sharded arrays through memory maps.

The index of every shard is checked against its CRC-32C and the file's size when it is opened; the
payload is not (`sampan verify --deep` does). A shard that is missing, damaged or shorter than the
rows asked for is a `StorageError`, never fill values. Only for arrays that sampan wrote: raw
chunks, one along each axis but `sample`.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from sampan.errors import StorageError
from sampan.store.layout import ArrayLayout
from sampan.store.shard import MISSING
from sampan.store.window import Window, place_bytes

FETCH_BYTES = 2**22
"""That are read at a time to bring them into the system's cache."""
WINDOW_BYTES = 2**44
"""Of addresses for an array; a process has 2^47."""


class Reader:
    """Rows of one array, from the shards in `folder`; for any number of threads at once."""

    def __init__(self, folder: Path, layout: ArrayLayout) -> None:
        self._folder = folder
        self._layout = layout
        self._place = place_bytes(layout)
        self._window: Window | None = None
        self._lock = threading.Lock()

    @property
    def layout(self) -> ArrayLayout:
        return self._layout

    def rows(self, first: int, stop: int) -> NDArray[Any]:
        """Rows [first, stop): a read-only view where shards lie without gaps, else a copy."""
        assert 0 <= first <= stop, (first, stop)
        if first == stop:
            return self._empty(0)
        size = self._layout.rows_per_shard
        shards = range(first // size, -(-stop // size))
        numbers = np.arange(shards.start, shards.stop)
        last = np.minimum(stop - numbers * size, size) - 1
        window = self._opened(shards, numbers, last)
        if not _holds(window, shards, numbers, last):
            del window  # its maps are given back once nothing refers to it
            window = self._opened(shards, numbers, last, anew=True)
        if window.rows is not None:
            return window.rows[first - window.first * size : stop - window.first * size]
        pieces = [
            window.shards[shard - window.first, max(0, first - shard * size) : stop - shard * size]
            for shard in shards
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def let_go(self, first: int, stop: int) -> None:
        """Rows [first, stop) are not needed any more: memory that they take is given back."""
        if self._window is not None and first < stop:
            self._window.let_go(range(first, stop))

    def take(self, rows: NDArray[np.int64], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Rows in the order asked for, as a new array, or in `out`, which has their shape."""
        # Not `torch.empty`, which takes twice as long to fill: numpy asks for large pages.
        found = self._empty(len(rows)) if out is None else out
        assert found.shape == (len(rows), *self._layout.spec.shape), (found.shape, len(rows))
        assert found.dtype == np.dtype(self._layout.spec.dtype), (found.dtype, self._layout.spec)
        if not len(rows):
            return found
        size = self._layout.rows_per_shard
        numbers, offsets = np.divmod(rows, size)
        shards = range(int(numbers.min()), int(numbers.max()) + 1)
        assert shards.start >= 0, rows.min()
        if not self._fits(shards):
            for position, row in enumerate(rows.tolist()):
                found[position] = self.rows(row, row + 1)[0]
            return found
        window = self._opened(shards, numbers, offsets)
        if window.rows is not None:
            # No row is outside; with "raise", numpy would fill a copy of `found` first.
            np.take(window.rows, rows - window.first * size, axis=0, out=found, mode="clip")
        else:
            found[...] = window.shards[numbers - window.first, offsets]
        unread = np.flatnonzero(offsets >= window.stored[numbers - window.first])
        if len(unread):
            self._read(numbers, offsets, unread, found)
        return found

    def fetch(self, first: int, stop: int) -> None:
        """
        Bring the chunks of rows [first, stop) into the system's cache, in order and in pieces so
        large that a disk or a file system over a network is quick at it.
        """
        size, chunk_rows = self._layout.rows_per_shard, self._layout.rows_per_chunk
        nbytes = chunk_rows * self._layout.row_bytes
        scratch = memoryview(bytearray(min(nbytes, FETCH_BYTES)))
        for shard in range(first // size, -(-stop // size)):
            begin, end = max(0, first - shard * size), min(size, stop - shard * size)
            with self._open(shard, end) as (file, chunks):
                for offset in chunks[begin // chunk_rows : -(-end // chunk_rows)]:
                    for place in range(offset, offset + nbytes, len(scratch)):
                        os.preadv(file, [scratch[: offset + nbytes - place]], place)

    def _empty(self, rows: int) -> NDArray[Any]:
        return np.empty((rows, *self._layout.spec.shape), self._layout.spec.dtype)

    def _fits(self, shards: range) -> bool:
        return len(shards) * self._place <= WINDOW_BYTES

    # Windows ----------------------------------------------------------------------------------

    def _opened(
        self,
        shards: range,
        numbers: NDArray[np.int64],
        offsets: NDArray[np.int64],
        *,
        anew: bool = False,
    ) -> Window:
        """
        A window in which the shards `numbers`, all of `shards`, hold the rows at `offsets`; but for
        those that would be more maps than this process may have. Where it is made `anew`, those of
        other shards are given back first, and it holds all.
        """
        window = self._window
        if window is None or anew or not _holds(window, shards, numbers, offsets):
            with self._lock:
                if anew:
                    window = self._window = None
                window = self._window = self._reaching(shards)
                missing = offsets >= window.stored[numbers - window.first]
                wanted, places = np.unique(numbers[missing], return_inverse=True)
                rows = np.zeros(len(wanted), np.int64)
                np.maximum.at(rows, places, offsets[missing] + 1)
                for shard, least in zip(wanted.tolist(), rows.tolist(), strict=True):
                    if window.has_room(shard) or anew:
                        self._map(window, shard, least)
        return window

    def _reaching(self, shards: range) -> Window:
        """The window, or a new one where it does not reach so far."""
        old = self._window
        if old is None:
            return self._reserved(shards)
        below, above = shards.start < old.first, shards.stop > old.stop
        if not below and not above:
            return old
        # Twice as wide, so that a reader which goes on and on opens few shards anew.
        width = 2 * (old.stop - old.first)
        wide = range(
            min(shards.start, max(0, old.stop - width)) if below else old.first,
            max(shards.stop, old.first + width) if above else old.stop,
        )
        return self._reserved(wide if self._fits(wide) else shards)

    def _reserved(self, shards: range) -> Window:
        try:
            return Window(self._layout, shards)
        except OSError as fault:
            size = len(shards) * self._place
            raise StorageError(
                f"{self._folder}: {size:,} bytes of addresses cannot be had: {fault.strerror}; "
                "they take no memory: raise the limit (ulimit -v)"
            ) from fault

    def _map(self, window: Window, shard: int, rows: int) -> None:
        """Bring a shard that holds `rows` rows at least into the window."""
        with self._open(shard, rows) as (file, chunks):
            nbytes = self._layout.rows_per_chunk * self._layout.row_bytes
            if chunks == [number * nbytes for number in range(len(chunks))]:
                window.map(shard, file, len(chunks) * self._layout.rows_per_chunk)
            else:
                data = [os.pread(file, nbytes, offset) for offset in chunks]
                window.copy(shard, b"".join(data))

    def _read(
        self,
        numbers: NDArray[np.int64],
        offsets: NDArray[np.int64],
        places: NDArray[np.intp],
        out: NDArray[Any],
    ) -> None:
        """Read rows of shards that are not mapped; each file is opened once."""
        size, row = self._layout.rows_per_chunk, self._layout.row_bytes
        ordered = places[np.argsort(numbers[places], kind="stable")]
        for same in np.split(ordered, np.flatnonzero(np.diff(numbers[ordered])) + 1):
            with self._open(int(numbers[same[0]]), int(offsets[same].max()) + 1) as (file, chunks):
                for place in same.tolist():
                    chunk, within = divmod(int(offsets[place]), size)
                    data = os.pread(file, row, chunks[chunk] + within * row)
                    out[place] = np.frombuffer(data, out.dtype).reshape(out.shape[1:])

    @contextmanager
    def _open(self, shard: int, rows: int) -> Iterator[tuple[int, list[int]]]:
        """A shard's descriptor and its chunks' offsets, where it holds `rows` rows at least."""
        path = self._folder / self._layout.shard_file(shard)
        try:
            with path.open("rb", buffering=0) as file:
                chunks = self._chunks(path, file.fileno())
                held = len(chunks) * self._layout.rows_per_chunk
                if held < rows:
                    raise StorageError(f"{path}: holds {held:,} rows; {rows:,} are needed")
                yield file.fileno(), chunks
        except FileNotFoundError:
            raise StorageError(f"{path}: is missing; run: sampan verify --repair") from None
        except OSError as fault:
            raise StorageError(f"{path}: cannot be read: {fault.strerror or fault}") from fault

    def _chunks(self, path: Path, descriptor: int) -> list[int]:
        """Offsets of a shard's leading stored chunks, checked."""
        size = 16 * self._layout.chunks_per_shard + 4
        total = os.fstat(descriptor).st_size
        if total < size:
            raise StorageError(f"{path}: has {total:,} bytes, too few for its index")
        tail = os.pread(descriptor, size, total - size)
        if google_crc32c.value(tail[:-4]).to_bytes(4, "little") != tail[-4:]:
            raise StorageError(f"{path}: its index is damaged; run: sampan verify --repair")
        nbytes = self._layout.rows_per_chunk * self._layout.row_bytes
        offsets = []
        for offset, length in np.frombuffer(tail[:-4], "<u8").reshape(-1, 2).tolist():
            if offset == MISSING:
                break
            if length != nbytes or offset + length > total - size:
                raise StorageError(f"{path}: its index points outside of the file")
            offsets.append(offset)
        return offsets


def _holds(
    window: Window, shards: range, numbers: NDArray[np.int64], offsets: NDArray[np.int64]
) -> bool:
    if shards.start < window.first or shards.stop > window.stop:
        return False
    return bool((offsets < window.stored[numbers - window.first]).all())
