"""The Hugging Face hub, where there is a network: on login nodes, never in a job."""

import os
import re
from pathlib import Path

from sampan.errors import ConfigError
from sampan.weights.folder import GRAPHS, PICKLES, SETTINGS, WEIGHTS, Kind

HUB = "hub:"
"""What the name of a model on the hub begins with."""


def download(name: str, revision: str | None, kind: Kind, made: Path) -> None:
    """
    Put the files of a model on the hub that an encoder of `kind` may read into the folder `made`.

    `ConfigError` for a name that is none, and where they cannot be had.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ConfigError(f"{HUB}{name}: write {HUB}ORGANISATION/MODEL")
    os.environ["HF_HUB_OFFLINE"] = "0"  # asked for; read when the library is imported
    import huggingface_hub

    patterns = [f"*{ending}" for ending in sorted(SETTINGS)]
    if kind == "transformers":
        patterns.append(f"*{WEIGHTS}")
    else:
        patterns += [f"{place}{graph}*" for place in ("", "onnx/") for graph in GRAPHS]
        patterns.append(f"[0-9]*/*{WEIGHTS}")  # of sentence-transformers' modules
    try:
        huggingface_hub.snapshot_download(
            name,
            revision=revision,
            local_dir=made,
            allow_patterns=patterns,
            ignore_patterns=[f"*{ending}" for ending in sorted(PICKLES)],
        )
    except Exception as fault:  # of the network, of the hub, of what it sent
        reason = (str(fault).strip() or type(fault).__name__).splitlines()[0]
        raise ConfigError(
            f"{HUB}{name}: cannot be downloaded: {reason}; where there is no network, copy the "
            "model's folder and stage that"
        ) from fault
