"""
Where the ledgers of a stage lie: in folders for ranges of rows.

A ledger of rows [first, stop) lies in `<rows>/<n>/`, the folder of rows [n × rows, (n + 1) × rows).
`rows` is 16 times the least power of two that has two neighbouring multiples with all of the
ledger's rows between them: in a folder lie the ledgers of 16 partitions, and a few of wider or
narrower ranges in others. So those of certain rows are found by their folders' names, at a cost
that does not depend on how many others there are. Where ledgers lie flat, which earlier versions
wrote, all of them are listed.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

RANGES_IN_A_FOLDER = 16
FOLDERS_TRIED = 64
"""By their names; where more would have to be, they are listed."""

_NAME = re.compile(r"rows-(\d+)-(\d+)\.([0-9a-f]+)-[0-9a-f]+\.jsonl")
_FOLDER = re.compile(r"0|[1-9]\d{0,18}")


class LedgerFile(NamedTuple):
    """One attempt's ledger, of rows [first, stop)."""

    path: Path
    first: int
    stop: int
    number: int

    @property
    def rank(self) -> tuple[int, str]:
        """By which the ledgers of the same rows are in the order in which they were begun."""
        return self.number, self.path.name


def folder_of(ledger: Path, first: int, stop: int) -> Path:
    """Where a ledger of rows [first, stop) lies."""
    rows = RANGES_IN_A_FOLDER << (first ^ max(first, stop - 1)).bit_length()
    return ledger / str(rows) / str(first // rows)


def name_of(first: int, stop: int, number: int, token: str) -> str:
    return f"rows-{first:012d}-{stop:012d}.{number:016x}-{token}.jsonl"


def overlapping(ledger: Path, first: int, stop: int) -> list[LedgerFile]:
    """The ledgers of all attempts whose rows overlap [first, stop), as they were begun."""
    found = list(_flat(ledger))
    for rows in _numbers(ledger):
        wanted = range(first // rows, -(-stop // rows)) if rows else range(0)
        for number in wanted if len(wanted) <= FOLDERS_TRIED else _numbers(ledger / str(rows)):
            if number in wanted:
                found += _flat(ledger / str(rows) / str(number))
    overlaps = (file for file in found if file.first < stop and file.stop > first)
    return sorted(overlaps, key=lambda file: file.rank)


def files(ledger: Path) -> list[LedgerFile]:
    """All ledgers of all attempts, those of the same rows in the order in which they were begun."""
    found = list(_flat(ledger))
    for rows in _numbers(ledger):
        for number in _numbers(ledger / str(rows)):
            found += _flat(ledger / str(rows) / str(number))
    return sorted(found, key=lambda file: file.rank)


def _flat(folder: Path) -> Iterator[LedgerFile]:
    for name in _names(folder):
        if match := _NAME.fullmatch(name):
            yield LedgerFile(folder / name, int(match[1]), int(match[2]), int(match[3], 16))


def _numbers(folder: Path) -> list[int]:
    """The numbers that folders in it have for names."""
    return sorted(int(name) for name in _names(folder) if _FOLDER.fullmatch(name))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
