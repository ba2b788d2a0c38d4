"""What others were made from: a model or features name what has to be there."""

from collections.abc import Iterator
from pathlib import Path

from sampan.errors import StorageError
from sampan.operations.verify.fault import Fault
from sampan.storage.durable import read_json
from sampan.store.catalogue import datasets, entries, models
from sampan.store.documents import ModelCard


def references(results: Path) -> dict[Path, str]:
    """Folder → one of those that were made from what it holds, or is to hold."""
    found: dict[Path, str] = {}
    for entry in models(results):
        path = entry.variant.path / "model.json"
        try:
            card = read_json(path, ModelCard)
        except StorageError:
            continue
        found.setdefault(results / card["dataset"] / "index", str(path.parent))
        for name, digest in card["digests"]["features"].items():
            folder = results / card["dataset"] / "features" / f"{name}@{digest[:8]}"
            found.setdefault(folder, str(path.parent))
    for dataset in datasets(results):
        for entry in entries(dataset):
            if not entry.is_committed:
                continue
            found.setdefault(dataset / "index", str(entry.variant.path))
            try:
                above = entry.committed.about.get("above", {})
            except StorageError:
                continue
            if all(isinstance(above.get(name), str) for name in ("name", "digest")):
                folder = dataset / "preprocess" / f"{above['name']}@{above['digest'][:8]}"
                found.setdefault(folder, str(entry.variant.path))
    return {folder: who for folder, who in found.items() if _is_below(folder, results)}


def _is_below(folder: Path, results: Path) -> bool:
    """Names come from files, which may have been altered."""
    return ".." not in folder.parts and results in folder.parents


def missing(found: dict[Path, str]) -> Iterator[Fault]:
    for folder, who in found.items():
        if not folder.is_dir():
            yield Fault(
                message=f"{folder}: is missing; {who} was made from it",
                asked=(folder / "dataset.json",),
            )
