"""Folders of weights: what may be read, and their digest."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sampan.errors import ConfigError

READ = frozenset(
    {".safetensors", ".json", ".txt", ".model", ".tiktoken", ".codes", ".vocab", ".bpe"}
)
"""Endings of the files that a model, its processor and its tokenizer are read from."""
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5"})
"""Endings of weights in formats that can carry code, or that are not read here."""
TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken", "*.vocab")


def weights_digest(path: str | Path) -> str:
    """
    One SHA-256 over every file that is read from a folder of weights, in 64 hexadecimal digits.

    It is the digest of what `sha256sum` prints for the files at the folder's top whose names end as
    in `READ`, each as `digest  name`, in the order of their names' bytes. Other files (pickles,
    pictures, a README.md) and hidden ones change nothing. `ConfigError` where there is no such
    folder.
    """
    lines = []
    for file in _files(Path(path)):
        with file.open("rb") as opened:
            lines.append(f"{hashlib.file_digest(opened, 'sha256').hexdigest()}  {file.name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def refuse_unsafe(path: Path) -> None:
    """`ConfigError` unless the folder has a config.json and weights as safetensors."""
    files = {file.name for file in _files(path)}
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in PICKLES)
    if not any(name.endswith(".safetensors") for name in files):
        if pickles:
            raise ConfigError(
                f"{path}: only safetensors are read, these weights may hold code: "
                f"{', '.join(pickles)}; take the same model's safetensors, or convert them yourself"
            )
        raise ConfigError(f"{path}: no *.safetensors in this folder")
    if "config.json" not in files:
        raise ConfigError(f"{path}: no config.json in this folder")


def refuse_other(path: Path, digest: str) -> None:
    """`ConfigError` with both digests unless the folder's is `digest`."""
    found = weights_digest(path)
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


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        raise ConfigError(f"{path}: no such folder of weights")
    read = [
        file
        for file in path.iterdir()
        if file.suffix in READ and not file.name.startswith(".") and file.is_file()
    ]
    return sorted(read, key=lambda file: os.fsencode(file.name))


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
