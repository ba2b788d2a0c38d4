"""One digest for a folder of weights, over every file that is read from it."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from sampan.errors import ConfigError
from sampan.weights.folder import Kind, files_of, name_in


def weights_digest(path: str | Path, kind: Kind = "transformers") -> str:
    """
    One SHA-256 over every file that is read from a folder of weights, in 64 hexadecimal digits.

    It is the digest of what `sha256sum` prints for these files, each as `digest  name`, in the
    order of their names' bytes. They lie at the folder's top: configs, processors and tokenizers
    (endings as in `SETTINGS`), and `*.safetensors` or, for `onnx`, the files in `GRAPHS` and the
    ones with weights that these name. Where there is a modules.json, settings and safetensors in
    the folders that it names count too, as `folder/name`. Others (pickles, pictures, a README.md)
    and hidden ones change nothing. `ConfigError` where there is no such folder.
    """
    folder = Path(path)
    files = files_of(folder, kind)
    return digest_of({name_in(folder, file): sha256_of(file) for file in files})


def digest_of(files: Mapping[str, str]) -> str:
    """The digest of a folder of weights, from the SHA-256 of each file by its name."""
    lines = [f"{files[name]}  {name}\n" for name in sorted(files, key=os.fsencode)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check_digest(digest: str) -> None:
    """`ValueError` for a setting that is no digest."""
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"digest: {digest!r} is not a SHA-256 in 64 hexadecimal digits (0-9, a-f)")


def refuse_other(path: Path, digest: str, kind: Kind = "transformers") -> None:
    """`ConfigError` with both digests unless the folder's is `digest`."""
    found = weights_digest(path, kind)
    if found != digest:
        raise ConfigError(
            f"{path}: these are other weights: digest {found}, the config says {digest}; "
            "set the digest to what you mean, or put the right files there"
        )
