"""Hashes of a dataset's rows, on disk while a scan lasts: 16 bytes for a key, 16 for its cells."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

from sampan.plugins import Cells
from sampan.store.identity import content_hash, joined, key_hash

HASH_BYTES = 16


class HashWriter:
    """Writes the hashes of one source file's rows, in order."""

    def __init__(self, path: Path) -> None:
        self._keys = keys_of(path).open("wb")
        self._cells = cells_of(path).open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._keys.close()
        self._cells.close()

    def write(self, cells: Cells) -> None:
        self._keys.write(b"".join(map(key_hash, cells.keys)))
        rows = zip(cells.keys, cells.reasons, *cells.columns.values(), strict=True)
        self._cells.write(b"".join([content_hash(repr(row).encode()) for row in rows]))


class RowHashes:
    """The hashes of all rows of all source files, in row order; read as they are asked for."""

    def __init__(self, files: Sequence[tuple[Path, int]]) -> None:
        """Each file's path as it was given to its writer, and its number of rows."""
        self._paths = [path for path, _ in files]
        self._starts = [0, *accumulate(rows for _, rows in files)]

    @property
    def rows(self) -> int:
        return self._starts[-1]

    def keys(self, first: int, stop: int) -> bytes:
        """16 bytes for each of the rows [first, stop)."""
        return self._read([keys_of(path) for path in self._paths], first, stop)

    def keys_digest(self, first: int, stop: int) -> str:
        return joined(self.keys(first, stop))

    def cells_digest(self, first: int, stop: int) -> str:
        return joined(self._read([cells_of(path) for path in self._paths], first, stop))

    def _read(self, paths: list[Path], first: int, stop: int) -> bytes:
        pieces = []
        number = bisect_right(self._starts, first) - 1
        while first < stop:
            start, end = self._starts[number], min(stop, self._starts[number + 1])
            if first < end:
                with paths[number].open("rb") as file:
                    file.seek((first - start) * HASH_BYTES)
                    pieces.append(file.read((end - first) * HASH_BYTES))
                first = end
            number += 1
        return b"".join(pieces)


def keys_of(path: Path) -> Path:
    return path.with_suffix(".keys")


def cells_of(path: Path) -> Path:
    return path.with_suffix(".cells")
