"""
A folder of weights, copied whole or not at all: what an encoder reads of it, and nothing else.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sampan.errors import ConfigError, StorageError
from sampan.storage.durable import fsync_folder, storing
from sampan.weights import digests
from sampan.weights import folder as weights
from sampan.weights.folder import GRAPHS, PICKLES, Kind
from sampan.weights.integrity import refuse_altered, weight_files

BLOCK_BYTES = 8 * 2**20


def files_to_stage(folder: Path, kind: Kind) -> dict[str, Path]:
    """
    Name in the staged folder → file, of those that an encoder of `kind` reads.

    `ConfigError` for pickles alone, for weights that are not there, and for a link that leaves the
    folder.
    """
    where = folder
    if kind == "onnx" and not any((folder / name).is_file() for name in GRAPHS):
        where = folder / "onnx" if (folder / "onnx").is_dir() else folder  # as on the hub
    refuse_altered(folder)
    _refuse_pickles(folder, where, kind)
    found = {weights.name_in(where, file): file for file in weights.files_of(where, kind)}
    if where != folder:
        found = {name: file for name, file in found.items() if file.suffix not in weights.SETTINGS}
        found |= {weights.name_in(folder, file): file for file in weights.files_of(folder, kind)}
    if kind == "transformers":
        wanted = weight_files(folder)
        found = {
            name: file
            for name, file in found.items()
            if file in wanted or file.suffix != weights.WEIGHTS or file.parent != folder
        }
    if "config.json" not in found:
        raise ConfigError(f"{folder}: no config.json in this folder")
    faults = [
        f"{file}: is a link to a file outside of {folder}; copy the files themselves (cp -rL)"
        for file in found.values()
        if not file.resolve().is_relative_to(folder.resolve())
    ]
    if faults:
        raise ConfigError(faults)
    return found


def _refuse_pickles(folder: Path, where: Path, kind: Kind) -> None:
    files = [file for file in weights.files_of(where, kind) if file.parent == where]
    if any(file.name in GRAPHS or file.suffix == weights.WEIGHTS for file in files):
        return
    names = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
    others = sorted(file.name for file in folder.iterdir() if file.name in GRAPHS)
    if others or ((folder / "onnx").is_dir() and kind == "transformers"):
        raise ConfigError(f"{folder}: holds ONNX and no safetensors; set --kind onnx")
    if not names:
        wanted = "model.safetensors" if kind == "transformers" else " or ".join(sorted(GRAPHS))
        raise ConfigError(f"{folder}: no {wanted} in this folder")
    if kind == "onnx":
        how = "export the model to ONNX"
    elif any(name.startswith("open_clip") for name in names):
        how = (
            f"to convert one of open_clip, name the file: sampan stage-weights {folder / names[0]}"
        )
    else:
        how = (
            'to convert them: python -c "from transformers import AutoModel; AutoModel.'
            f"from_pretrained('{folder}', weights_only=True).save_pretrained('{folder}')\""
        )
    raise ConfigError(
        f"{folder}: pickles may hold code and are not staged: {', '.join(names)}; {how}"
    )


def stage(
    files: Mapping[str, Path], to: Path, kind: Kind, *, move: bool, show: Callable[[int], None]
) -> str:
    """
    Make the folder `to` of `files`, atomically and durably; returns its digest.

    `show` is told the bytes of each piece that is done. `StorageError` where there is no space, or
    where what was written reads back otherwise.
    """
    total = sum(file.stat().st_size for file in files.values())
    with folder_beside(to) as made:
        free = shutil.disk_usage(made).free
        if not move and total > free:
            raise StorageError(
                f"{to}: {total / 1e6:,.0f} MB to copy, {free / 1e6:,.0f} MB are free there"
            )
        hashes = {}
        with storing(to):
            for name, file in files.items():
                (made / name).parent.mkdir(exist_ok=True)
                if move:
                    hashes[name] = digests.sha256_of(file)
                    os.replace(file, made / name)
                    _fsync(made / name)
                    show((made / name).stat().st_size)
                else:
                    hashes[name] = _copied(file, made / name, show)
        found = digests.weights_digest(made, kind)
        if found != digests.digest_of(hashes):
            raise StorageError(f"{to}: what was written reads back otherwise; nothing was staged")
        with storing(to):
            for folder in (*made.glob("*/"), made):
                fsync_folder(folder)
            os.rename(made, to)
            fsync_folder(to.parent)
    return found


@contextlib.contextmanager
def folder_beside(to: Path) -> Iterator[Path]:
    """A new folder beside `to`, on the same file system; removed where it is still there."""
    made = to.parent / f".{to.name}.{secrets.token_hex(4)}.partial"
    with storing(made):
        made.mkdir(parents=True)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _copied(file: Path, to: Path, show: Callable[[int], None]) -> str:
    """Copy and fsync; returns the SHA-256 of what was read."""
    digest = hashlib.sha256()
    with file.open("rb") as source, to.open("wb") as target:
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
            target.write(block)
            show(len(block))
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _fsync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
