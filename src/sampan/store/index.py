"""The index of a dataset: one Parquet file a partition, in row order."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.errors import StorageError
from sampan.plan import plan_file
from sampan.store.durable import read_json, storing

ROWS_PER_GROUP = 8192


@dataclass(frozen=True)
class IndexFolder:
    """`<results>/<dataset>/index`."""

    path: Path

    def part(self, part: int) -> Path:
        return self.path / f"part-{part:05d}.parquet"

    def plan(self, part: int, partitions: int) -> Path:
        """What the scan found of a partition, and of those that share its file."""
        return self.path / "plan" / plan_file(part, partitions)

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

        self._path = path
        try:
            self._file = pq.ParquetFile(path)
        except (OSError, ValueError) as fault:
            raise StorageError(f"{path}: cannot be read: {fault}") from fault
        about = json.loads(self._file.schema_arrow.metadata[b"sampan"])
        self.first: int = about["first"]
        stored = self._file.metadata.num_rows
        self.rows: int = stored if rows is None else rows
        if self.rows > stored:
            raise StorageError(f"{path}: holds {stored:,} rows; {rows:,} are committed")
        self.roots = [Path(root["path"]) for root in about["roots"]]
        self.versions: list[int] = [root["version"] for root in about["roots"]]

    @property
    def columns(self) -> list[str]:
        return list(self._file.schema_arrow.names)

    def read(self, columns: Sequence[str], rows: range | None = None) -> dict[str, list[Any]]:
        """The columns of these rows of the dataset, all of the partition's by default."""
        wanted = rows if rows is not None else range(self.first, self.first + self.rows)
        start, stop = wanted.start - self.first, wanted.stop - self.first
        groups = range(start // ROWS_PER_GROUP, -(-stop // ROWS_PER_GROUP))
        try:
            table = self._file.read_row_groups(list(groups), columns=list(columns))
        except (OSError, ValueError) as fault:
            raise StorageError(f"{self._path}: cannot be read: {fault}") from fault
        offset = groups.start * ROWS_PER_GROUP
        piece = table.slice(start - offset, stop - start)
        return {name: piece.column(name).to_pylist() for name in columns}

    def batches(self, columns: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
        """All rows, a row group at a time."""
        stop = self.first + self.rows
        for start in range(self.first, stop, ROWS_PER_GROUP):
            yield self.read(columns, range(start, min(start + ROWS_PER_GROUP, stop)))


@dataclass(frozen=True)
class Index:
    """A committed index."""

    folder: IndexFolder

    @cached_property
    def about(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.folder.dataset)
        return found

    @property
    def rows(self) -> int:
        return int(self.about["rows"])

    def parts(self) -> Iterator[IndexPart]:
        """Partitions that hold rows; of each those that are committed, though it may have grown."""
        for part in self.about["parts"]:
            if part["rows"]:
                yield IndexPart(self.folder.part(part["part"]), part["rows"])

    def column(self, name: str) -> NDArray[np.object_]:
        """
        (sample) of text, None where there is none; all None where the index has no such column.
        """
        out = np.full(self.rows, None, object)
        for part in self.parts():
            if name in part.columns:
                out[part.first : part.first + part.rows] = part.read([name])[name]
        return out

    def groups(self) -> NDArray[np.object_]:
        """(sample): what must not straddle splits, the group or, where there is none, the key."""
        group, key = self.column("group"), self.column("key")
        return np.where(group == None, key, group)  # noqa: E711 # elementwise
