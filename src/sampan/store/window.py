"""
Shards side by side in one range of addresses, so that numpy sees all their rows as one array.

A range of the process's addresses is reserved, which takes no memory; each shard's file is mapped
to its place there when it is first needed (mmap(2), MAP_FIXED). Python's own `mmap` lets no address
be chosen, and would keep a file open for each map.
"""

import ctypes
import mmap
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.store.layout import ArrayLayout

MAP_FIXED = 0x10
"""Of Linux and macOS; Python's mmap does not name it."""

MAPS_ELSEWHERE = 16_384
"""Maps that a process may need beside those of shards: its libraries', its threads', its heap's."""
MAPS_OF_LINUX = 65_530
"""That a process may have, where the system does not say (vm.max_map_count)."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64),
)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Maps:
    """How many more maps this process may have, in all its windows together."""

    def __init__(self, most: int | None = None) -> None:
        self._lock = threading.Lock()
        self._left = _most_maps() if most is None else most

    def take(self, count: int) -> bool:
        """Whether there were so many left, which are the caller's now."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def give_back(self, counts: list[int]) -> None:
        with self._lock:
            self._left += sum(counts)


def _most_maps() -> int:
    allowed = MAPS_OF_LINUX
    with suppress(OSError, ValueError):
        allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
    return max(allowed - MAPS_ELSEWHERE, allowed // 4)


MAPS = Maps()


class Window:
    """
    Places for some of an array's shards, from `first` to before `stop`.

    `stored` (shard) tells how many rows of each can be read by now; others must not be looked at.
    The addresses are given back when no view of them is left.
    """

    def __init__(self, layout: ArrayLayout, shards: range) -> None:
        self.first, self.stop = shards.start, shards.stop
        nbytes = layout.rows_per_shard * layout.row_bytes
        self._layout = layout
        self._place = place_bytes(layout)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        space = mmap.mmap(-1, len(shards) * self._place, flags=flags, prot=mmap.PROT_READ)
        self.stored = np.zeros(len(shards), np.int64)
        self._mapped = 0
        self._taken: list[int] = []
        weakref.finalize(space, MAPS.give_back, self._taken)
        self._copied: set[int] = set()
        raw = np.frombuffer(space, np.uint8)
        self._address = raw.ctypes.data
        shape = layout.spec.shape
        self.shards: NDArray[Any] = (
            raw.reshape(len(shards), self._place)[:, :nbytes]
            .view(layout.spec.dtype)
            .reshape(len(shards), layout.rows_per_shard, *shape)
        )
        """(shard, row, …), read-only."""
        self.rows: NDArray[Any] | None = (
            self.shards.reshape(-1, *shape) if nbytes == self._place else None
        )
        """(row, …), read-only; None where a shard does not end with a page of memory."""

    def has_room(self, shard: int) -> bool:
        """
        Whether this process may map one shard more, for which room is kept then.

        A map amid the range parts it, so that each may count twice; but all count once.
        """
        if self.stored[shard - self.first]:
            return True
        needed = min(2 * (self._mapped + 1), len(self.stored) + 1) - sum(self._taken)
        if needed > 0:
            if not MAPS.take(needed):
                return False
            self._taken[:] = [sum(self._taken) + needed]
        return True

    def map(self, shard: int, descriptor: int, rows: int) -> None:
        """The first `rows` rows of a shard are those at the beginning of a file."""
        self._map(shard, rows, mmap.PROT_READ, mmap.MAP_SHARED, descriptor)

    def let_go(self, rows: range) -> None:
        """
        Give back the memory of these rows' pages, which storage brings again when they are asked
        for; those of shards that were copied stay.
        """
        size = len(self.shards[0]) if len(self.shards) else 0
        for shard in range(rows.start // size, -(-rows.stop // size)) if rows else ():
            number = shard - self.first
            if not 0 <= number < len(self.stored) or number in self._copied:
                continue
            first, stop = max(rows.start - shard * size, 0), min(rows.stop - shard * size, size)
            row, page = self._layout.row_bytes, mmap.PAGESIZE
            begin = -(-first * row // page) * page
            nbytes = stop * row // page * page - begin
            if nbytes > 0:  # advice: where it is not taken, nothing is lost
                place = self._address + number * self._place
                _libc.madvise(place + begin, nbytes, mmap.MADV_DONTNEED)

    def copy(self, shard: int, data: bytes) -> None:
        """The first rows of a shard are these bytes."""
        rows = len(data) // self._layout.row_bytes
        self._copied.add(shard - self.first)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._map(shard, rows, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, data)

    def _map(
        self, shard: int, rows: int, access: int, flags: int, descriptor: int, data: bytes = b""
    ) -> None:
        number = shard - self.first
        address = self._address + number * self._place
        nbytes = rows * self._layout.row_bytes
        if nbytes and _fixed(address, nbytes, access, flags, descriptor) != address:
            fault = ctypes.get_errno()
            # What failed may have left a hole, which another's map must not fall into.
            _fixed(address, nbytes, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
            raise OSError(fault, os.strerror(fault))
        if data:
            ctypes.memmove(address, data, nbytes)
        self._mapped += not self.stored[number]
        self.stored[number] = rows


def place_bytes(layout: ArrayLayout) -> int:
    """Bytes of addresses that a shard takes: whole pages."""
    nbytes = layout.rows_per_shard * layout.row_bytes
    return -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE


def _fixed(address: int, nbytes: int, access: int, flags: int, descriptor: int) -> int | None:
    found: int | None = _libc.mmap(address, nbytes, access, flags | MAP_FIXED, descriptor, 0)
    return found
