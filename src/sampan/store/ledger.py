"""
The ledger: one record for each finished shard, appended and fsynced once the shard is durable.

One JSON Lines file for each attempt at a partition, named with the partition's rows, so that a job
finds the records of its rows whoever wrote them. A torn last line, left by a kill, is skipped.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sampan.store.durable import fsync_folder, write_bytes

_NAME = re.compile(r"rows-(\d+)-(\d+)\.[0-9a-f]+-[0-9a-f]+\.jsonl")


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a shard holds: `rows` used, its files' sizes and checksums, and the invalid rows."""

    shard: int
    key: str
    rows: int
    files: dict[str, dict[str, Any]]
    invalid: list[tuple[int, str]] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    content: str = ""
    """Digest of the source bytes of all rows; empty where the step reads none."""

    @property
    def identity(self) -> str:
        """
        What a step downstream depends on: the settings and rows, and the bytes that were read.
        """
        return self.key + self.content

    def line(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


class Attempt:
    """One attempt's ledger file, open for appending."""

    def __init__(self, folder: Path, first: int, stop: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"rows-{first:012d}-{stop:012d}.{time.time_ns():016x}-{os.urandom(4).hex()}.jsonl"
        self.path = folder / name
        self._file = self.path.open("ab", buffering=0)
        fsync_folder(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if self.path.stat().st_size == 0:
            self.path.unlink()

    def append(self, record: Record) -> None:
        self._file.write(record.line())
        os.fsync(self._file.fileno())


def files(folder: Path) -> Iterator[tuple[Path, int, int]]:
    """Ledger files, oldest attempt first within the same rows, each with its first and stop row."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if match := _NAME.fullmatch(path.name):
            yield path, int(match[1]), int(match[2])


def read(path: Path) -> Iterator[Record]:
    """Records of one file, in the order they were appended."""
    for line in path.read_bytes().split(b"\n"):
        if line:
            try:
                value = json.loads(line)
                value["invalid"] = [(row, reason) for row, reason in value["invalid"]]
                yield Record(**value)
            except (ValueError, TypeError, KeyError):
                continue


def records(folder: Path, first: int, stop: int) -> dict[int, list[Record]]:
    """Shard → its records, of all attempts whose rows overlap [first, stop), latest last."""
    found: dict[int, list[Record]] = {}
    overlapping = [path for path, begin, end in files(folder) if begin < stop and end > first]
    for path in sorted(overlapping, key=lambda path: path.name.split(".")[1]):
        for record in read(path):
            found.setdefault(record.shard, []).append(record)
    return found


def forget(folder: Path, shards: Iterable[int]) -> None:
    """Remove all records of these shards; each file is replaced atomically."""
    gone = set(shards)
    for path, _, _ in list(files(folder)):
        before = list(read(path))
        kept = [record for record in before if record.shard not in gone]
        if not kept:
            path.unlink()
        elif len(kept) < len(before):
            write_bytes(path, b"".join(record.line() for record in kept))
