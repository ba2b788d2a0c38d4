"""What lies in a results folder: the variants of every stage."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sampan.config.names import VariantName
from sampan.plan.stages import ARRAY_STAGES
from sampan.storage.durable import storing
from sampan.store.committed import Committed
from sampan.store.variant import Variant

BESIDE_DATASETS = ("models", "logs", "benchmarks")


@dataclass(frozen=True)
class Entry:
    """One variant's folder: whose it is, and its name and digest as the folder says."""

    dataset: str
    stage: str
    name: str
    digest: str
    variant: Variant

    @property
    def is_committed(self) -> bool:
        return self.variant.dataset.exists()

    @property
    def committed(self) -> Committed:
        return Committed(self.variant)


def datasets(results: Path) -> list[Path]:
    """The folders of datasets, those that have an index or stages."""
    if not results.is_dir():
        return []
    return sorted(
        path
        for path in results.iterdir()
        if path.is_dir()
        and path.name not in BESIDE_DATASETS
        and any((path / stage).is_dir() for stage in ("index", *ARRAY_STAGES))
    )


def entries(dataset: Path) -> Iterator[Entry]:
    """All variants of a dataset's stages, committed or not."""
    for stage in ARRAY_STAGES:
        folder = dataset / stage
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            found = VariantName.parse(path.name)
            if found and path.is_dir():
                yield Entry(dataset.name, stage, found.name, found.digest, Variant(path))


def models(results: Path) -> Iterator[Entry]:
    """All models, trained or not."""
    folder = results / "models"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        found = VariantName.parse(path.name)
        if found and path.is_dir():
            yield Entry("", "models", found.name, found.digest, Variant(path))


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder, which jobs may be writing to."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def remove(variant: Variant) -> None:
    """Delete a variant; readers stop seeing it first."""
    with storing(variant.path):
        variant.dataset.unlink(missing_ok=True)
        shutil.rmtree(variant.path)
