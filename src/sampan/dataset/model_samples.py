"""The samples of one model: their features, splits, roles and contents, from committed stages."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sampan.dataset.open import check_same_rows
from sampan.errors import StorageError
from sampan.index.columns import Coded, coded, count_groups, present, split_codes
from sampan.index.parts import Index, IndexFolder
from sampan.index.splits import NAMES, check_split
from sampan.plan.jobs import TrainJob
from sampan.plan.memory import samples_mb
from sampan.store.committed import Committed
from sampan.store.read import Reader
from sampan.store.variant import Variant
from sampan.training.roles import Roles, assign_roles

if TYPE_CHECKING:
    import pyarrow as pa


class StoredFeatures:
    """One encoder's embeddings of all rows, read from the shards when they are asked for."""

    def __init__(self, stage: Committed, rows: int) -> None:
        self._reader: Reader = stage.reader()
        self._committed = stage.rows
        self.rows = rows
        self.dimensions = self._reader.layout.spec.shape[0]

    def take(self, rows: NDArray[np.int64], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """(sample) row numbers → (sample, embedding) as stored, as a new array or in `out`."""
        return self._reader.take(rows, out)

    def fetch(self, first: int, stop: int) -> None:
        """Bring rows [first, stop) into the system's cache, those that are committed."""
        self._reader.fetch(first, min(stop, self._committed))


class Samples:
    """
    Everything that a model's job refers to, opened and checked against the index.

    `StorageError` where a stage is not committed or was made from another index.
    """

    def __init__(self, job: TrainJob, results: Path) -> None:
        self.stage = job.stage
        self.folder = results / self.stage.folder
        self.settings = job.settings
        self.split_settings = job.split
        self.index = Index(IndexFolder(results / self.stage.dataset / "index"))
        if self.index.about["columns"] != job.columns:
            raise StorageError(
                f"{self.index.folder.path}: made for the columns {self.index.about['columns']}, "
                f"this config has {dict(job.columns)}; run: snakemake index"
            )
        self.stages = {
            name: Committed(Variant.of(results, stage)) for name, stage in job.features.items()
        }
        self.modalities = {
            name: Committed(Variant.of(results, stage)) for name, stage in job.modalities.items()
        }
        for stage in (*self.stages.values(), *self.modalities.values()):
            check_same_rows(self.index, stage)

    @property
    def rows(self) -> int:
        return self.index.rows

    def memory_mb(self, rows_at_once: int) -> int:
        """What a job needs that has so many rows' features in memory at a time, in MB."""
        features = sum(4 * stored.dimensions for stored in self.features.values())
        held = -(-features * rows_at_once // 2**20)
        return held + samples_mb(self.settings.task, self.rows, len(self.modalities))

    @cached_property
    def features(self) -> dict[str, StoredFeatures]:
        return {name: StoredFeatures(stage, self.rows) for name, stage in self.stages.items()}

    @cached_property
    def labels(self) -> Coded:
        return coded(self.index, "label")

    def keys(self, rows: range) -> "pa.ChunkedArray":
        """(sample) of these rows' keys."""
        import pyarrow as pa

        tables = self.index.tables(["key"], rows)
        chunks = [chunk for _, table in tables for chunk in table.column("key").chunks]
        return pa.chunked_array(chunks, pa.string())

    def keys_at(self, rows: NDArray[np.int64]) -> "pa.ChunkedArray":
        """The keys at these rows, which ascend."""
        return self._at("key", rows)

    def labels_at(self, rows: NDArray[np.int64]) -> list[str]:
        """The labels at these rows, which ascend and have one."""
        found: list[str] = self._at("label", rows).to_pylist()
        return found

    def _at(self, name: str, rows: NDArray[np.int64]) -> "pa.ChunkedArray":
        import pyarrow as pa

        chunks = []
        for first, table in self.index.tables([name]):
            start, stop = np.searchsorted(rows, [first, first + len(table)])
            chunks += table.column(name).take(pa.array(rows[start:stop] - first)).chunks
        return pa.chunked_array(chunks, pa.string())

    @cached_property
    def splits(self) -> NDArray[np.int8]:
        """(sample); `DataError` with the groups' counts where a split comes out empty."""
        found = split_codes(self.index, self.split_settings)
        needed = ("test",) if self.settings.task == "retrieve" else NAMES
        there = [name for code, name in enumerate(NAMES) if np.any(found == code)]
        name = f"models.{self.stage.name}.split"
        check_split(name, there, lambda: count_groups(self.index), needed)
        return found

    def roles(self) -> Roles:
        """What each row serves for, and why some serve for nothing."""
        labelled = None
        if self.settings.task == "classify":
            labelled = self.labels.codes >= 0
        elif self.settings.task == "regress":
            labelled = present(self.index, "label")
        return assign_roles(
            self.splits,
            valid={name: self._of_all(stage.valid()) for name, stage in self.stages.items()},
            absent={name: self._of_all(stage.absent()) for name, stage in self.modalities.items()},
            labelled=labelled,
            unusable=coded(self.index, "reason"),
        )

    def contents(self) -> dict[str, NDArray[np.int64]]:
        """Modality → (sample) numbers that are equal where the source bytes are equal."""
        found = {}
        for name, stage in self.modalities.items():
            digests = np.ascontiguousarray(self.digests(stage)).view("V16").ravel()
            found[name] = np.unique(digests, return_inverse=True)[1].astype(np.int64)
        return found

    def digests(self, stage: Committed, rows: range | None = None) -> NDArray[np.uint8]:
        """(sample, 16): SHA-256 of these rows' source bytes; zeros where there were none."""
        wanted = range(self.rows) if rows is None else rows
        out = np.zeros((len(wanted), 16), np.uint8)
        stop = min(wanted.stop, stage.rows)
        if wanted.start < stop:
            out[: stop - wanted.start] = stage.reader("digest").rows(wanted.start, stop)
        return out

    def _of_all(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(sample) of a stage, which may hold fewer rows than the index, or more."""
        out = np.zeros(self.rows, bool)
        out[: len(flags)] = flags[: self.rows]
        return out

    def upstream_digests(self) -> Mapping[str, Any]:
        """What this model is made from, beside its settings."""
        about = self.index.about
        return {
            "index": {
                "rows": about["rows"],
                "parts": [(part["keys"], part["columns"]) for part in about["parts"]],
            },
            "features": {
                name: [part["digest"] for part in stage.about["parts"]]
                for name, stage in self.stages.items()
            },
        }
