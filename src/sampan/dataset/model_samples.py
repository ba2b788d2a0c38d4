"""The samples of one model: their features, splits, roles and contents, from committed stages."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.dataset.open import check_same_rows
from sampan.errors import StorageError
from sampan.index.parts import Index, IndexFolder
from sampan.index.splits import check_split, split_of
from sampan.plan.jobs import TrainJob
from sampan.plan.memory import MASTER_MB, WORKER_MB
from sampan.store.committed import Committed
from sampan.store.read import Reader
from sampan.store.variant import Variant
from sampan.training.roles import Roles, assign

ROW_BYTES = 1024
"""Of a row's key, group, label, split, reason and digests, as Python objects."""


class StoredFeatures:
    """One encoder's embeddings of all rows, read from the shards when they are asked for."""

    def __init__(self, stage: Committed, rows: int) -> None:
        self._reader: Reader = stage.reader()
        self.rows = rows
        self.dimensions = self._reader.layout.spec.shape[0]

    def take(self, rows: NDArray[np.int64], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """(sample) row numbers → (sample, embedding) as stored, as a new array or in `out`."""
        return self._reader.take(rows, out)


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
        held = features * rows_at_once + ROW_BYTES * self.rows
        return MASTER_MB + WORKER_MB + -(-held // 2**20)

    @cached_property
    def features(self) -> dict[str, StoredFeatures]:
        return {name: StoredFeatures(stage, self.rows) for name, stage in self.stages.items()}

    @cached_property
    def labels(self) -> NDArray[np.object_]:
        return self.index.column("label")

    @cached_property
    def keys(self) -> NDArray[np.object_]:
        return self.index.column("key")

    @cached_property
    def splits(self) -> NDArray[np.object_]:
        """(sample); `DataError` with the groups' counts where a split comes out empty."""
        groups = self.index.groups()
        given = self.index.column("split") if self.split_settings.column else None
        found = split_of(self.split_settings, groups, given)
        needed = ("test",) if self.settings.task == "retrieve" else ("train", "validation", "test")
        check_split(f"models.{self.stage.name}.split", found, groups, needed)
        return found

    def roles(self) -> Roles:
        """What each row serves for, and why some serve for nothing."""
        labelled = None
        if self.settings.task in ("classify", "regress"):
            labelled = np.array([label is not None for label in self.labels])
        return assign(
            list(self.splits),
            valid={name: self._of_all(stage.valid()) for name, stage in self.stages.items()},
            absent={name: self._of_all(stage.absent()) for name, stage in self.modalities.items()},
            labelled=labelled,
            unusable=list(self.index.column("reason")),
        )

    def contents(self) -> dict[str, NDArray[np.int64]]:
        """Modality → (sample) numbers that are equal where the source bytes are equal."""
        found = {}
        for name, stage in self.modalities.items():
            digests = np.ascontiguousarray(self.digests(stage)).view("V16").ravel()
            found[name] = np.unique(digests, return_inverse=True)[1].astype(np.int64)
        return found

    def digests(self, stage: Committed) -> NDArray[np.uint8]:
        """(sample, 16): SHA-256 of each row's source bytes; zeros where there were none."""
        out = np.zeros((self.rows, 16), np.uint8)
        committed = min(self.rows, stage.rows)
        out[:committed] = stage.reader("digest").rows(0, committed)
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
