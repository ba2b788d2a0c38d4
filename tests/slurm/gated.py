"""
A modality and two encoders that a test holds up at a sample, installed as a user would.

A sample is a word. Where a file of that name lies in the folder `SAMPAN_GATES`, whoever comes to
the sample says so in `<word>.reached` and does what the file says:

    hold          wait until the file is gone, or says something else
    memory <MB>   take that much memory for some seconds
"""

from pathlib import Path

import plugin_site

MODULE = '''
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sampan.plugins import ArraySpec, Decoded

GATES = Path(os.environ.get("SAMPAN_GATES", "."))


def come_to(word):
    action = said_at(word)
    if action:
        with (GATES / f"{word}.reached").open("a") as file:
            print(os.getpid(), file=file)
    while action == ["hold"]:
        time.sleep(0.05)
        action = said_at(word)
    if action:
        kept = b"1" * (int(action[1]) * 2**20)
        time.sleep(6)
        del kept


def said_at(word):
    try:
        return (GATES / word).read_text().split()
    except FileNotFoundError:
        return []


@dataclass(frozen=True, kw_only=True)
class Gated:
    """Words of eight letters at most, as bytes."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    cell: ClassVar[str] = "path"
    workers: ClassVar[str] = "threads"
    has_length: ClassVar[bool] = False
    max_bytes: int = 8

    def array(self):
        return ArraySpec(("byte",), (8,), "uint8")

    def memory_bytes(self):
        return 0

    def decode(self, data, out):
        come_to(data.decode())
        out[: len(data)] = list(data)
        return Decoded()


class Encode:
    dimensions = 8

    def __call__(self, data, length):
        import numpy as np

        for row in data:
            come_to(f"{bytes(row).rstrip(bytes(1)).decode()}.encode")
        return data.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class GatedEncoder:
    """The bytes themselves."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    kinds: ClassVar[tuple[str, ...]] = ("gated",)
    workers: ClassVar[str] = "processes"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    batch: int = 8

    def memory_bytes(self):
        return 0

    def check(self, modality):
        return []

    def load(self, modality, device):
        return Encode()


class SeeingEncode(Encode):
    def __call__(self, data, length):
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
        (GATES / f"given-{os.getpid()}").write_text(given)
        time.sleep(0.2)  # so that none does it all
        return super().__call__(data, length)


@dataclass(frozen=True, kw_only=True)
class SeeingEncoder(GatedEncoder):
    """One process a GPU, which writes down what it is given."""

    workers: ClassVar[str] = "one"
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

    def __post_init__(self):
        if "SAMPAN_FAKE_GPUS" in os.environ and "extract" in sys.argv:
            import torch

            torch.cuda.is_available = lambda: True
            torch.cuda.device_count = lambda: len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))

    def load(self, modality, device):
        (GATES / f"device-{os.getpid()}").write_text(device)
        return SeeingEncode()
'''
ENTRY_POINTS = """
[sampan.modalities]
gated = gated_plugin:Gated

[sampan.encoders]
gated = gated_plugin:GatedEncoder
seeing = gated_plugin:SeeingEncoder
"""


def install(folder: Path) -> Path:
    """What pip would leave behind; returns the folder to put on the path."""
    return plugin_site.install(folder, "gated_plugin", MODULE, ENTRY_POINTS)
