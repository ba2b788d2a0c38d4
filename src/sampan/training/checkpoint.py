"""
Checkpoints: new `step-N` folders that hold safetensors and JSON, nothing that could run code.

A folder is written under a temporary name, its files fsynced, the manifest last; then it is renamed
and its parent fsynced. One that does not hold exactly what its manifest says does not count.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import safetensors.torch
from torch import Tensor

from sampan.errors import DataError, StorageError
from sampan.storage.durable import PASSING, fsync_folder, read_json, storing, write_bytes
from sampan.storage.outbox import discard

MANIFEST = "manifest.json"
FILES = {"tensors.safetensors", "state.json"}


class ManifestFile(TypedDict):
    bytes: int
    sha256: str


class Manifest(TypedDict):
    """`manifest.json` of a checkpoint."""

    key: str
    step: int
    files: dict[str, ManifestFile]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that a run needs to go on as if it had never stopped."""

    step: int
    """Steps done."""
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]
    """What JSON can hold."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one run; the folder has one writer at a time."""

    folder: Path
    key: str
    """Digest of all that the run depends on: settings, samples and roles, upstream digests."""
    keep: int = 2
    outbox: Path | None = None
    """What is saved comes out of here, and what is removed goes in; None if nobody else may."""

    def save(self, checkpoint: Checkpoint) -> Path:
        """Make it durable, then remove all but the newest `keep`; failing is a `StorageError`."""
        final = self.folder / f"step-{checkpoint.step:09d}"
        if manifest_of(final) is not None:
            return final
        partial = self._outbox / f".{final.name}.partial"
        with storing(final):
            self.folder.mkdir(parents=True, exist_ok=True)
            # What is not older than this step is not whole, or the run would have gone on from it.
            newer = [path for path in steps(self.folder) if path.name >= final.name]
            for stale in (*self.folder.glob(".step-*.partial"), *newer):
                discard(stale, self._outbox)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            files = {
                "tensors.safetensors": safetensors.torch.save(dict(checkpoint.tensors)),
                "state.json": _json(checkpoint.state),
            }
            manifest = {
                "key": self.key,
                "step": checkpoint.step,
                "files": {name: _entry(data) for name, data in files.items()},
            }
            for name, data in (files | {MANIFEST: _json(manifest)}).items():
                write_bytes(partial / name, data)
            partial.rename(final)
            fsync_folder(self.folder)
            for old in steps(self.folder)[self.keep :]:
                discard(old, self._outbox)
        return final

    def latest(self) -> Checkpoint | None:
        """The newest whole checkpoint; `DataError` where its key is another."""
        for folder in steps(self.folder):
            manifest = manifest_of(folder)
            if manifest is None:
                continue
            if manifest["key"] != self.key:
                raise DataError(
                    f"{folder}: made from other settings or samples (key {manifest['key']}, "
                    f"wanted {self.key}); remove {self.folder} to train anew"
                )
            return Checkpoint(
                step=manifest["step"],
                tensors=safetensors.torch.load_file(folder / "tensors.safetensors"),
                state=json.loads((folder / "state.json").read_bytes()),
            )
        return None

    def clear(self) -> None:
        """Remove all checkpoints, whoever made them."""
        for path in (*self.folder.glob(".step-*.partial"), *steps(self.folder)):
            discard(path, self._outbox)

    @property
    def _outbox(self) -> Path:
        return self.folder if self.outbox is None else self.outbox


def steps(folder: Path) -> list[Path]:
    """Newest first."""
    found = [path for path in folder.glob("step-*") if path.name[5:].isdigit()]
    return sorted(found, key=lambda path: -int(path.name[5:]))


def manifest_of(folder: Path) -> Manifest | None:
    """The manifest of a whole checkpoint, None where it is not whole."""
    try:
        manifest = read_json(folder / MANIFEST, Manifest)
        for name, entry in manifest["files"].items():
            if _entry((folder / name).read_bytes()) != entry:
                return None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except StorageError as fault:
        if isinstance(fault.__cause__, OSError) and fault.__cause__.errno in PASSING:
            raise
        return None
    is_named = folder.name == f"step-{manifest['step']:09d}"
    return manifest if is_named and {*manifest["files"]} == FILES else None


def _entry(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode()
