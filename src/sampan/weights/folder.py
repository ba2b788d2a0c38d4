"""Folders of weights: which files are read, and what is refused."""

import os
from pathlib import Path
from typing import Literal

from sampan.errors import ConfigError
from sampan.weights.graphs import read_graph
from sampan.weights.integrity import (
    read_json,
    refuse_altered,
    refuse_pointer,
    tensors_of,
    weight_files,
)

Kind = Literal["transformers", "onnx"]

SETTINGS = frozenset({".json", ".txt", ".model", ".tiktoken", ".codes", ".vocab", ".bpe", ".spm"})
"""Endings of the files that a config, a processor and a tokenizer are read from."""
WEIGHTS = ".safetensors"
MODULES = "modules.json"
"""Of sentence-transformers: what follows the model, and the folders with its settings."""
GRAPHS = ("vision_model.onnx", "text_model.onnx", "audio_model.onnx", "model.onnx")
"""ONNX files that are read, the first that takes a modality before the others."""
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5", ".gguf"})
"""Endings of weights in formats that can carry code, or that are not read here."""
TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken", "*.vocab")


def name_in(folder: Path, file: Path) -> str:
    """What a file of a folder of weights is called in its digest."""
    return file.relative_to(folder).as_posix()


def files_of(path: Path, kind: Kind) -> list[Path]:
    """
    The files that are read from a folder of weights, in the order of their names' bytes.

    `ConfigError` where there is no such folder, an ONNX file or modules.json names files
    elsewhere, or one of the files is a pointer of Git LFS.
    """
    if not path.is_dir():
        raise ConfigError(f"{path}: no such folder of weights")
    read = {
        file.name
        for file in path.iterdir()
        if _is_read(file) and (file.suffix in SETTINGS or _is_weights(file, kind))
    }
    for folder in module_folders(path):
        read |= {
            name_in(path, file)
            for file in (path / folder).glob("*")
            if _is_read(file) and (file.suffix in SETTINGS or file.suffix == WEIGHTS)
        }
    for name in read:
        refuse_pointer(path / name)
    for name in [name for name in GRAPHS if name in read]:
        read |= _external(path, name)
    return [path / name for name in sorted(read, key=os.fsencode)]


def _is_read(file: Path) -> bool:
    return not file.name.startswith(".") and file.is_file()


def module_folders(path: Path) -> list[str]:
    """
    The folders that modules.json names beside the top; none where there is no such file.

    `ConfigError` for one that is no plain name, which could lie anywhere.
    """
    if not (path / MODULES).is_file():
        return []
    found = []
    for entry in read_json(path / MODULES, list):
        folder = entry.get("path", "") if isinstance(entry, dict) else None
        if not isinstance(folder, str) or folder in (".", "..") or Path(folder).name != folder:
            raise ConfigError(f"{path / MODULES}: path: {folder!r} is no folder beside it")
        if folder:
            found.append(folder)
    return found


def _is_weights(file: Path, kind: Kind) -> bool:
    return file.suffix == WEIGHTS if kind == "transformers" else file.name in GRAPHS


def _external(path: Path, name: str) -> set[str]:
    """The files beside an ONNX file that hold its weights."""
    found = set(read_graph(path / name).external)
    for other in sorted(found):
        beside = "\0" not in other and Path(other).name == other
        if not beside or not (path / other).resolve().is_relative_to(path.resolve()):
            raise ConfigError(
                f"{path / name}: names weights outside of its folder: {other!r}; "
                "they have to lie beside it"
            )
        if not (path / other).is_file():
            raise ConfigError(f"{path / name}: its weights are missing: {other}")
        refuse_pointer(path / other)
    return found


def refuse_unsafe(path: Path, kind: Kind = "transformers") -> None:
    """
    `ConfigError` unless the folder has a config.json, and whole weights as `kind` reads them.

    Reads the beginning of each file of weights.
    """
    wanted, reads, instead = {
        "transformers": (
            "*.safetensors",
            "only safetensors are read",
            "take the same model's safetensors, or convert them yourself",
        ),
        "onnx": (" or ".join(sorted(GRAPHS)), "only ONNX is read", "export the model to ONNX"),
    }[kind]
    files = files_of(path, kind)
    refuse_altered(path)
    if not any(_is_weights(file, kind) for file in files if file.parent == path):
        if pickles := sorted(file.name for file in path.iterdir() if file.suffix in PICKLES):
            raise ConfigError(
                f"{path}: {reads}, these weights may hold code: {', '.join(pickles)}; {instead}"
            )
        raise ConfigError(f"{path}: no {wanted} in this folder")
    if not (path / "config.json").is_file():
        raise ConfigError(f"{path}: no config.json in this folder")
    for file in weight_files(path) if kind == "transformers" else ():
        tensors_of(file)


def has_tokenizer(path: Path) -> bool:
    return bool(tokenizer_files(path))


def tokenizer_files(path: Path) -> list[str]:
    """Names of the files that hold a tokenizer's vocabulary."""
    return sorted({file.name for pattern in TOKENIZERS for file in path.glob(pattern)})


def refuse_missing_tokenizer(path: Path) -> None:
    """`ConfigError` where a tokenizer would be made up from nothing: it has no vocabulary here."""
    if not has_tokenizer(path):
        raise ConfigError(
            f"{path}: no tokenizer in this folder (tokenizer.json, vocab.txt, *.model); "
            "put the model's own beside its weights"
        )
