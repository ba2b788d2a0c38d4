"""Keys that repeat an earlier one, found by sorting their hashes outside memory."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sampan.index.row_hashes import RowHashes

ROWS_IN_MEMORY = 2**21
MOST_FILES = 128
"""Open at a time, twice: a process may have 1,024."""
LAST_DIGIT = 8
"""To that base, of 64 bits."""
ENTRY = np.dtype([("hash", "<u8", 2), ("row", "<i8")])


def duplicates(
    hashes: RowHashes, without: NDArray[np.int64], temporary: Path, block: int = ROWS_IN_MEMORY
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Rows whose key stands in an earlier row, ascending, and for each the first row with that key.

    Rows in `without` have no key. About `block` rows are held at a time, 24 bytes each, sorted:
    all are first divided among files in the folder `temporary` by their hash.
    """
    found = [_repeated(entries) for entries in _buckets(hashes, without, temporary, block)]
    rows, firsts = np.concatenate([np.empty((2, 0), np.int64), *found], axis=1)
    order = np.argsort(rows)
    return rows[order], firsts[order]


def _buckets(
    hashes: RowHashes, without: NDArray[np.int64], temporary: Path, block: int
) -> Iterator[NDArray[Any]]:
    """All rows with a key; equal hashes come in the same bucket, in row order."""

    def with_key(first: int) -> NDArray[Any]:
        entries = _entries(hashes, first, min(first + block, hashes.rows))
        return entries[~np.isin(entries["row"], without)]

    pieces = (with_key(first) for first in range(0, hashes.rows, block))
    yield from _divided(pieces, hashes.rows, temporary, block)


def _divided(
    pieces: Iterator[NDArray[Any]], rows: int, folder: Path, block: int, digit: int = 0
) -> Iterator[NDArray[Any]]:
    """
    Entries among `MOST_FILES` files at most, by a digit of their hash; those of a file that still
    holds too many are divided again.
    """
    count = min(MOST_FILES, max(1, -(-rows // block)))
    sizes = np.zeros(count, np.int64)
    with ExitStack() as stack:
        files = [
            stack.enter_context((folder / f"bucket-{digit}-{i}").open("w+b")) for i in range(count)
        ]
        for entries in pieces:
            bucket = entries["hash"][:, 0] // np.uint64(MOST_FILES**digit) % np.uint64(count)
            order = np.argsort(bucket, kind="stable")
            bounds = np.searchsorted(bucket[order], np.arange(count + 1))
            sizes += np.diff(bounds)
            for i, file in enumerate(files):
                file.write(entries[order[bounds[i] : bounds[i + 1]]].tobytes())
        for file, size in zip(files, sizes.tolist(), strict=True):
            file.seek(0)
            if size > 2 * block and count == MOST_FILES and digit < LAST_DIGIT:
                yield from _divided(_read(file, block), size, folder, block, digit + 1)
            else:
                yield np.frombuffer(file.read(), ENTRY)


def _read(file: BinaryIO, block: int) -> Iterator[NDArray[Any]]:
    while data := file.read(block * ENTRY.itemsize):
        yield np.frombuffer(data, ENTRY)


def _entries(hashes: RowHashes, first: int, stop: int) -> NDArray[Any]:
    entries = np.empty(stop - first, ENTRY)
    entries["hash"] = np.frombuffer(hashes.keys(first, stop), "<u8").reshape(-1, 2)
    entries["row"] = np.arange(first, stop)
    return entries


def _repeated(entries: NDArray[Any]) -> NDArray[np.int64]:
    """(2, duplicate): rows, and the first rows with the same hash."""
    order = np.lexsort((entries["hash"][:, 1], entries["hash"][:, 0]))  # stable: rows ascend
    ordered = entries[order]
    starts = np.ones(len(ordered), bool)
    starts[1:] = np.any(ordered["hash"][1:] != ordered["hash"][:-1], axis=1)
    first_of = np.flatnonzero(starts)[np.cumsum(starts) - 1]
    again = np.flatnonzero(~starts)
    return np.stack([ordered["row"][again], ordered["row"][first_of[again]]])
