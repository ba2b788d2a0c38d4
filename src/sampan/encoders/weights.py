"""Folders of weights: what may be read, and their digest."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from sampan.encoders.graphs import read_graph
from sampan.errors import ConfigError

Kind = Literal["transformers", "onnx"]

SETTINGS = frozenset({".json", ".txt", ".model", ".tiktoken", ".codes", ".vocab", ".bpe"})
"""Endings of the files that a config, a processor and a tokenizer are read from."""
WEIGHTS = ".safetensors"
GRAPHS = ("vision_model.onnx", "text_model.onnx", "audio_model.onnx", "model.onnx")
"""ONNX files that are read, the first that takes a modality before the others."""
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5"})
"""Endings of weights in formats that can carry code, or that are not read here."""
TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken", "*.vocab")


def weights_digest(path: str | Path, kind: Kind = "transformers") -> str:
    """
    One SHA-256 over every file that is read from a folder of weights, in 64 hexadecimal digits.

    It is the digest of what `sha256sum` prints for these files, each as `digest  name`, in the
    order of their names' bytes. They lie at the folder's top: configs, processors and tokenizers
    (endings as in `SETTINGS`), and `*.safetensors` or, for `onnx`, the files in `GRAPHS` and the
    ones with weights that these name. Others (pickles, pictures, a README.md) and hidden ones
    change nothing. `ConfigError` where there is no such folder.
    """
    return digest_of({file.name: sha256_of(file) for file in files_of(Path(path), kind)})


def digest_of(files: Mapping[str, str]) -> str:
    """The digest of a folder of weights, from the SHA-256 of each file by its name."""
    lines = [f"{files[name]}  {name}\n" for name in sorted(files, key=os.fsencode)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def files_of(path: Path, kind: Kind) -> list[Path]:
    """
    The files that are read from a folder of weights, in the order of their names' bytes.

    `ConfigError` where there is no such folder, or an ONNX file names weights elsewhere.
    """
    if not path.is_dir():
        raise ConfigError(f"{path}: no such folder of weights")
    read = {
        file.name
        for file in path.iterdir()
        if not file.name.startswith(".")
        and file.is_file()
        and (file.suffix in SETTINGS or _is_weights(file, kind))
    }
    for name in [name for name in GRAPHS if name in read]:
        read |= _external(path, name)
    return [path / name for name in sorted(read, key=os.fsencode)]


def _is_weights(file: Path, kind: Kind) -> bool:
    return file.suffix == WEIGHTS if kind == "transformers" else file.name in GRAPHS


def _external(path: Path, name: str) -> set[str]:
    """The files beside an ONNX file that hold its weights."""
    found = set(read_graph(path / name).external)
    for other in sorted(found):
        if Path(other).name != other or not (path / other).resolve().is_relative_to(path.resolve()):
            raise ConfigError(
                f"{path / name}: names weights outside of its folder: {other!r}; "
                "they have to lie beside it"
            )
        if not (path / other).is_file():
            raise ConfigError(f"{path / name}: its weights are missing: {other}")
    return found


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check_digest(digest: str) -> None:
    """`ValueError` for a setting that is no digest."""
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"digest: {digest!r} is not a SHA-256 in 64 hexadecimal digits (0-9, a-f)")


def refuse_unsafe(path: Path, kind: Kind = "transformers") -> None:
    """`ConfigError` unless the folder has a config.json, and weights as `kind` reads them."""
    wanted, reads, instead = {
        "transformers": (
            "*.safetensors",
            "only safetensors are read",
            "take the same model's safetensors, or convert them yourself",
        ),
        "onnx": (" or ".join(sorted(GRAPHS)), "only ONNX is read", "export the model to ONNX"),
    }[kind]
    if not any(_is_weights(file, kind) for file in files_of(path, kind)):
        if pickles := sorted(file.name for file in path.iterdir() if file.suffix in PICKLES):
            raise ConfigError(
                f"{path}: {reads}, these weights may hold code: {', '.join(pickles)}; {instead}"
            )
        raise ConfigError(f"{path}: no {wanted} in this folder")
    if not (path / "config.json").is_file():
        raise ConfigError(f"{path}: no config.json in this folder")


def refuse_other(path: Path, digest: str, kind: Kind = "transformers") -> None:
    """`ConfigError` with both digests unless the folder's is `digest`."""
    found = weights_digest(path, kind)
    if found != digest:
        raise ConfigError(
            f"{path}: these are other weights: digest {found}, the config says {digest}; "
            "set the digest to what you mean, or put the right files there"
        )


def refuse_missing_tokenizer(path: Path) -> None:
    """`ConfigError` where a tokenizer would be made up from nothing: it has no vocabulary here."""
    if not any(any(path.glob(pattern)) for pattern in TOKENIZERS):
        raise ConfigError(
            f"{path}: no tokenizer in this folder (tokenizer.json, vocab.txt, *.model); "
            "put the model's own beside its weights"
        )


@contextmanager
def offline(path: Path) -> Iterator[None]:
    """
    Load with transformers from this folder alone, in silence: no network, no bars, no advice.

    What the library says about a folder that it cannot read becomes a `ConfigError`.
    """
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as fault:
        reason = str(fault).strip().splitlines() or [type(fault).__name__]
        raise ConfigError(f"{path}: transformers cannot read this folder: {reason[0]}") from fault
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
