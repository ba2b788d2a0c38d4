"""The index of a dataset: one Parquet file a partition, in row order."""

import json
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.errors import StorageError
from sampan.plan.variants import plan_file
from sampan.storage.durable import read_json, storing
from sampan.storage.shape import check_of
from sampan.store.documents import IndexDataset, PartAbout, PartPlan, PlanFile, fault_of_parts
from sampan.store.identity import content_hash

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_GROUP = 8192
GROUP_BYTES = 2**24
"""Rows are kept together until they are so many, or hold so much."""
HELD = 4
"""Such groups of one column that an `IndexColumn` holds."""
BYTES_SUFFIX = ".bytes"
"""Where some of a modality's cells hold bytes and some text, the column with the bytes."""


@dataclass(frozen=True)
class IndexFolder:
    """`<results>/<dataset>/index`."""

    path: Path

    def part(self, part: int) -> Path:
        return self.path / f"part-{part:05d}.parquet"

    def plan(self, part: int, partitions: int) -> Path:
        """What the scan found of a partition, and of those that share its file."""
        return self.path / "plan" / plan_file(part, partitions)

    def plan_of(self, part: int, partitions: int) -> PartPlan:
        """A partition's plan; `StorageError` where it is missing or damaged."""
        path = self.plan(part, partitions)
        plans: dict[str, PartPlan] = read_json(path, PlanFile)
        found = plans.get(f"{part:05d}")
        if found is None or found["rows"] != sum(piece["rows"] for piece in found["pieces"]):
            raise StorageError(f"{path}: is damaged: it has no plan of partition {part}")
        return found

    def receipt(self, name: str, part: int) -> Path:
        """A modality's receipt, or that of the other `columns`."""
        return self.path / "receipts" / name / f"part-{part:05d}.json"

    @property
    def dataset(self) -> Path:
        return self.path / "dataset.json"

    def forget_settings(self, name: str) -> None:
        """Nothing says any longer with which settings this was made, until that is said anew."""
        with storing(self.path):
            for path in self.path.glob(f"{name}@*.json"):
                path.unlink(missing_ok=True)

    def keep_only(self, partitions: int, modalities: Iterable[str]) -> None:
        """Remove what was listed for more partitions, other modalities, or planned otherwise."""
        plans = {self.plan(part, partitions) for part in range(partitions)}
        names = {"columns", *modalities}
        with storing(self.path):
            for path in self.path.glob("plan/*.json"):
                if path not in plans:
                    path.unlink(missing_ok=True)
            for path in (*self.path.glob("receipts/*/part-*.json"), *self.path.glob("part-*")):
                number = path.stem.removeprefix("part-")
                is_listed = path.parent == self.path or path.parent.name in names
                if number.isdigit() and not (is_listed and int(number) < partitions):
                    path.unlink(missing_ok=True)

    @property
    def state(self) -> Path:
        """What the last scan found, against which the next one is checked."""
        return self.path / "scan.json"


class IndexPart:
    """
    Rows of one partition's index; row numbers are those of the dataset.

    `rows` are those to be seen, from the first; all by default. `StorageError` where there are
    fewer, or the file is damaged.
    """

    def __init__(self, path: Path, rows: int | None = None) -> None:
        import pyarrow.parquet as pq

        self.path = path
        try:
            self._file = pq.ParquetFile(path)
        except (OSError, ValueError) as fault:
            raise StorageError(f"{path}: cannot be read: {fault}") from fault
        about = self._about()
        self.first: int = about["first"]
        self.stored: int = self._file.metadata.num_rows
        self.rows: int = self.stored if rows is None else rows
        if self.rows > self.stored:
            raise StorageError(f"{path}: holds {self.stored:,} rows; {rows:,} are committed")
        self.roots = [Path(root["path"]) for root in about["roots"]]
        self.versions: list[int] = [root["version"] for root in about["roots"]]
        self.allow: list[list[str]] = [root.get("allow", []) for root in about["roots"]]

        sizes = (
            self._file.metadata.row_group(i).num_rows
            for i in range(self._file.metadata.num_row_groups)
        )
        self._starts = [0, *accumulate(sizes)]

    def _about(self) -> PartAbout:
        try:
            value = json.loads((self._file.schema_arrow.metadata or {})[b"sampan"])
        except (KeyError, ValueError, RecursionError):
            value = None
        wrong = check_of(PartAbout)(value)
        if wrong or "key" not in self._file.schema_arrow.names:
            raise StorageError(f"{self.path}: is damaged: no part of an index: {wrong or 'keys'}")
        found: PartAbout = value
        return found

    @property
    def columns(self) -> list[str]:
        names = self._file.schema_arrow.names
        return [name for name in names if not name.endswith(BYTES_SUFFIX)]

    def groups(self, rows: range | None = None) -> Iterator[range]:
        """These rows of the dataset, all by default, as they are kept together."""
        wanted = rows if rows is not None else range(self.first, self.first + self.rows)
        start = wanted.start
        while start < wanted.stop:
            group = bisect_right(self._starts, start - self.first) - 1
            stop = min(self.first + self._starts[group + 1], wanted.stop)
            yield range(start, stop)
            start = stop

    def read(self, columns: Sequence[str], rows: range | None = None) -> dict[str, list[Any]]:
        """The columns of these rows of the dataset, all of the partition's by default."""
        found: dict[str, list[Any]] = {name: [] for name in columns}
        for batch in self.batches(columns, rows):
            for name in columns:
                found[name] += batch[name]
        return found

    def batches(
        self, columns: Sequence[str], rows: range | None = None
    ) -> Iterator[dict[str, list[Any]]]:
        """The same, a row group at a time."""
        for part in self.groups(rows):
            yield self._read(columns, part)

    def column(self, name: str, rows: range) -> "IndexColumn":
        """One column of these rows of the dataset, numbered from 0, read as it is asked for."""
        return IndexColumn(self, name, rows)

    def table(self, columns: Sequence[str], rows: range) -> "pa.Table":
        """Columns as they are stored, of rows that are kept together."""
        start = rows.start - self.first
        group = bisect_right(self._starts, start) - 1
        try:
            table = self._file.read_row_group(group, columns=list(columns))
        except (OSError, ValueError) as fault:
            raise StorageError(f"{self.path}: cannot be read: {fault}") from fault
        return table.slice(start - self._starts[group], len(rows))

    def _read(self, columns: Sequence[str], rows: range) -> dict[str, list[Any]]:
        """Of rows that are kept together."""
        there = set(self._file.schema_arrow.names)
        beside = [name for name in columns if name + BYTES_SUFFIX in there]
        piece = self.table([*columns, *(name + BYTES_SUFFIX for name in beside)], rows)
        found = {name: piece.column(name).to_pylist() for name in columns}
        for name in beside:
            pairs = zip(found[name], piece.column(name + BYTES_SUFFIX).to_pylist(), strict=True)
            found[name] = [text if data is None else data for text, data in pairs]
        return found


class IndexColumn(Sequence[Any]):
    """
    One column of some rows of a partition, of which some megabytes are held at a time.

    Several threads may ask; what they ask for is best close together.
    """

    def __init__(self, part: IndexPart, name: str, rows: range) -> None:
        self._part, self._name = part, name
        self._groups = list(part.groups(rows))
        self._starts = [group.start - rows.start for group in self._groups]
        self._length = len(rows)
        self._held: dict[int, list[Any]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, i: Any) -> Any:
        if not 0 <= i < self._length:
            raise IndexError(i)
        group = bisect_right(self._starts, i) - 1
        with self._lock:
            values = self._held.pop(group, None)
            if values is None:
                values = self._part._read([self._name], self._groups[group])[self._name]
                while len(self._held) >= HELD:
                    del self._held[next(iter(self._held))]
            self._held[group] = values
        return values[i - self._starts[group]]


@dataclass(frozen=True)
class Index:
    """A committed index."""

    folder: IndexFolder

    @cached_property
    def about(self) -> IndexDataset:
        path = self.folder.dataset
        found: IndexDataset = read_json(path, IndexDataset)
        if wrong := fault_of_parts(found["rows"], found["parts"]):
            raise StorageError(f"{path}: is damaged: {wrong}")
        return found

    @property
    def rows(self) -> int:
        return int(self.about["rows"])

    def parts(self, rows: range | None = None) -> Iterator[IndexPart]:
        """
        Partitions that hold any of these rows, or of all; of each those rows that are committed,
        though it may have grown.
        """
        wanted = range(self.rows) if rows is None else rows
        for part in self.about["parts"]:
            first, stop = part["first"], part["first"] + part["rows"]
            if max(first, wanted.start) < min(stop, wanted.stop):
                yield IndexPart(self.folder.part(part["part"]), part["rows"])

    def tables(
        self, columns: Sequence[str], rows: range | None = None
    ) -> Iterator[tuple[int, "pa.Table"]]:
        """
        Columns of text of these rows, all by default, in order; some thousand rows at a time, each
        with the number of its first row. Null where the index has no such column.
        """
        import pyarrow as pa

        wanted = range(self.rows) if rows is None else rows
        for part in self.parts(wanted):
            known = [name for name in columns if name in part.columns]
            start, stop = max(part.first, wanted.start), part.first + part.rows
            for group in part.groups(range(start, min(stop, wanted.stop))):
                table = part.table(known, group)
                for name in columns:
                    if name not in known:
                        table = table.append_column(name, pa.nulls(len(group), pa.string()))
                yield group.start, table


def cell_line(version: int, cell: str | bytes | None, reason: str | None) -> str:
    """What a modality's step reads of one row, as text to be digested."""
    shown = f"#{content_hash(cell).hex()}" if isinstance(cell, bytes) else value_line(cell)
    return f"{version} {reason or ''}\x1f{shown}"


def value_line(value: str | None) -> str:
    """A label or another column of one row, as text to be digested."""
    return "" if value is None else f"={value}"
