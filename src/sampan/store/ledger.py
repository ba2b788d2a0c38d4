"""
The ledger: one record for each finished shard, appended and fsynced once the shard is durable.

One JSON Lines file for each attempt at a partition, named with the partition's rows and a number
above those of all before it that overlap them, so that a job finds the records of its rows, in
order, whoever wrote them; `ledger_files` says where. Files are only ever appended to: a line
`{"shard": …, "withdrawn": true}` takes back what was said of a shard before it. A torn last line,
left by a kill, is skipped. A file comes out of its attempt's outbox and is held open; whoever takes
over puts a copy in its place, so that what a sleeper appends later is said to nobody.
"""

import json
import os
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from sampan.errors import StorageError
from sampan.storage.durable import fsync_folder, storing, write_all, write_bytes
from sampan.storage.shape import check_of
from sampan.store.documents import LedgerLine, Withdrawal
from sampan.store.ledger_files import LedgerFile, files, folder_of, name_of, overlapping

_recorded, _withdrawal = check_of(LedgerLine), check_of(Withdrawal)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a shard holds: `rows` used, its files' sizes and checksums, and the invalid rows."""

    shard: int
    key: str
    rows: int
    files: dict[str, dict[str, Any]]
    invalid: list[tuple[int, str]] = field(default_factory=list)
    absent: list[int] = field(default_factory=list)
    """Rows that have no value to be valid or not, because their cells are empty; none in both."""
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
        value = asdict(self)
        if not self.absent:
            del value["absent"]
        return _line(value)


_FIELDS = frozenset(each.name for each in fields(Record))


class LedgerWriter:
    """One attempt's ledger in `ledger`, open for appending, from its `outbox` if it has one."""

    def __init__(self, ledger: Path, first: int, stop: int, outbox: Path | None = None) -> None:
        token = os.urandom(4).hex() if outbox is None else _token(outbox)
        folder = folder_of(ledger, first, stop)
        with storing(ledger):
            folder.mkdir(parents=True, exist_ok=True)
            before = overlapping(ledger, first, stop)
            number = 1 + max((file.number for file in before), default=0)
            self.path = folder / name_of(first, stop, number, token)
            made = self.path if outbox is None else outbox / f"{self.path.name}.partial"
            self._file = made.open("ab", buffering=0)
            self._size = 0
            if made != self.path:
                os.rename(made, self.path)
            for changed in (folder, folder.parent, ledger):
                fsync_folder(changed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._size == 0:
            self.path.unlink(missing_ok=True)

    def append(self, record: Record) -> None:
        self._write(record.line())

    def withdraw(self, shards: Collection[int]) -> None:
        """Take back every record of these shards that was written before."""
        if shards:
            self._write(b"".join(_line({"shard": n, "withdrawn": True}) for n in shards))

    def _write(self, lines: bytes) -> None:
        with storing(self.path):
            self._file.truncate(self._size)  # what a write that failed may have left
            write_all(self._file, lines)
            os.fsync(self._file.fileno())
        self._size += len(lines)


def seal(ledger: Path, of: Path, outbox: Path) -> None:
    """
    Let what the attempt whose outbox is called like `of` has recorded be all that it ever records.

    Its file gives way to a copy of the same rank; appends go to one that has no name any more.
    """
    sealed = [file.path for file in files(ledger) if file.path.stem.endswith(f"-{_token(of)}")]
    for path in sealed:
        with storing(path):
            lines = path.read_bytes()
            if whole := lines[: lines.rfind(b"\n") + 1]:
                write_bytes(path.with_name(f"{path.stem}0.jsonl"), whole, outbox)
            path.unlink(missing_ok=True)
            fsync_folder(path.parent)


def _token(outbox: Path) -> str:
    """What no other attempt's outbox ends with."""
    return outbox.name.rpartition("-")[2]


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def read(path: Path) -> Iterator[tuple[int, Record | None]]:
    """Each shard with its record, or None where it is withdrawn, in the order of writing."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:  # removed since it was listed, by an attempt that had nothing to say
        return
    except OSError as fault:
        raise StorageError(f"{path}: cannot be read: {fault.strerror or fault}") from fault
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not _withdrawal(value) and value["withdrawn"]:
            yield value["shard"], None
        elif not _recorded(value):
            known = {name: value[name] for name in _FIELDS if name in value}
            known["invalid"] = [(row, reason) for row, reason in value["invalid"]]
            yield value["shard"], Record(**known)


class Listing:
    """All of a stage's ledgers, listed once for whoever asks for the records of many partitions."""

    def __init__(self, ledger: Path) -> None:
        self._files = sorted(files(ledger), key=lambda file: file.first)
        self._widest = max((file.stop - file.first for file in self._files), default=0)

    def records(self, first: int, stop: int) -> dict[int, list[Record]]:
        """What `records` says."""
        begin = bisect_right(self._files, first - self._widest, key=lambda file: file.first)
        end = bisect_left(self._files, stop, key=lambda file: file.first)
        found = [file for file in self._files[begin:end] if file.stop > first]
        return _merged(sorted(found, key=lambda file: file.rank))


def records(ledger: Path, first: int, stop: int) -> dict[int, list[Record]]:
    """Shard → its records, of all attempts whose rows overlap [first, stop), latest last."""
    return _merged(overlapping(ledger, first, stop))


def _merged(found: Iterable[LedgerFile]) -> dict[int, list[Record]]:
    merged: dict[int, list[Record]] = {}
    for file in found:
        for shard, record in read(file.path):
            if record is None:
                merged.pop(shard, None)
            else:
                merged.setdefault(shard, []).append(record)
    return merged


def forget(ledger: Path, shards: Collection[int], rows_per_shard: int) -> None:
    """Withdraw all records of these shards."""
    if shards:
        first, stop = min(shards) * rows_per_shard, (max(shards) + 1) * rows_per_shard
        with LedgerWriter(ledger, first, stop) as attempt:
            attempt.withdraw(shards)
