"""Cells of one modality tried before any job runs: whether their files are there and decode."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from sampan.errors import InvalidSample, StorageError
from sampan.operations.survey import Cell
from sampan.plugins import Modality
from sampan.progress import Progress, show_progress
from sampan.sources.cells import CellReader
from sampan.sources.values import cell_of

AT_A_TIME = 16
"""Files looked at together; a shared tier answers late, but many at once."""

Readers = Callable[[Cell], CellReader]


class Tried(NamedTuple):
    """How many cells were tried, how many are not valid for each reason, and one of these."""

    cells: int
    bad: Counter[str]
    example: str


def try_files(cells: Sequence[Cell], readers: Readers, what: str, until: float) -> Tried:
    """Whether the files that paths name are there; none is read. Stops at `until` (monotonic)."""
    with show_progress(what, len(cells), "files") as shown:
        return _tried(_looks(cells, lambda cell: _look(cell, readers(cell)), until), shown)


def try_decoding(
    cells: Sequence[Cell], plugin: Modality, readers: Readers, what: str, until: float
) -> Tried:
    """Whether a few cells can be read and decoded, one after the other."""

    def verdict(cell: Cell) -> str | None:
        return refusal(plugin, readers(cell), cell)

    with show_progress(what, len(cells), "samples") as shown:
        one_by_one = ((cell, verdict(cell)) for cell in cells if time.monotonic() < until)
        return _tried(one_by_one, shown)


def refusal(plugin: Modality, reader: CellReader, cell: Cell) -> str | None:
    """Why a cell is not valid; None where it is, or is empty."""
    try:
        found = reader.read(0, cell_of(cell.value))
        if found is not None:
            spec = plugin.array()
            plugin.decode(found.data, np.zeros(spec.shape, spec.dtype))
    except InvalidSample as verdict:
        return str(verdict)
    except MemoryError as fault:
        return f"needs too much memory: {fault or 'none is left'}"
    return None


def _look(cell: Cell, reader: CellReader) -> str | None:
    try:
        value = cell_of(cell.value)
        if isinstance(value, str):
            size = reader.files.size(0, value)
            if size > reader.files.max_bytes:
                return f"file too large: {size:,} bytes; max_bytes is {reader.files.max_bytes:,}"
    except InvalidSample as verdict:
        return str(verdict)
    return None


def _looks(
    cells: Sequence[Cell], look: Callable[[Cell], str | None], until: float
) -> Iterator[tuple[Cell, str | None]]:
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for first in range(0, len(cells), 8 * AT_A_TIME):
            some = cells[first : first + 8 * AT_A_TIME]
            yield from zip(some, pool.map(look, some), strict=True)
            if time.monotonic() > until:
                return


def _tried(looks: Iterator[tuple[Cell, str | None]], shown: Progress) -> Tried:
    tried, bad, example = 0, Counter[str](), ""
    try:
        for cell, reason in looks:
            tried += 1
            shown.add(1)
            if reason is not None:
                bad[reason.partition(": ")[0]] += 1
                example = example or f"{cell.key or 'no key'}: {reason}"
    except StorageError as fault:
        example = example or fault.faults[0]
        bad["storage is in trouble"] += 1
        tried += 1
    return Tried(tried, bad, example)
