"""
A modality and an encoder that kill their process, installed into a folder as a user would.

    environment = {"PYTHONPATH": str(fragile.install(tmp_path))}
"""

from pathlib import Path

import plugin_site

MODULE = """
import ctypes
import os
from dataclasses import dataclass
from typing import ClassVar

from sampan.errors import InvalidSample
from sampan.plugins import ArraySpec, Decoded


def do(word):
    if word == b"segfault":
        ctypes.string_at(0)
    if word == b"hang":
        while True:
            pass
    if word == b"memory":
        kept = []
        while True:
            kept.append(bytearray(2**24))
    if word == b"exit":
        os._exit(3)
    if word == b"print":
        print("no number", flush=True)
    if word == b"bug":
        raise ZeroDivisionError("a bug of the plug-in")


@dataclass(frozen=True, kw_only=True)
class Fragile:
    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    cell: ClassVar[str] = "value"
    workers: ClassVar[str] = "processes"
    has_length: ClassVar[bool] = False
    max_bytes: int = 1000

    def array(self):
        return ArraySpec(("byte",), (8,), "uint8")

    def memory_bytes(self):
        return 0

    def decode(self, data, out):
        if data == b"bad":
            raise InvalidSample("bad word: as asked")
        if not data.startswith(b"later "):
            do(data)
        out[: len(data)] = list(data[:8])
        return Decoded()


class Encode:
    dimensions = 1

    def __call__(self, data, length):
        import numpy as np

        for row in data:
            do({b"later se": b"segfault", b"later ha": b"hang"}.get(bytes(row)))
        return data[:, :1].astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class FragileEncoder:
    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    kinds: ClassVar[tuple[str, ...]] = ("fragile",)
    workers: ClassVar[str] = "processes"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    batch: int = 8

    def memory_bytes(self):
        return 0

    def check(self, modality):
        return []

    def load(self, modality, device):
        return Encode()
"""
ENTRY_POINTS = """
[sampan.modalities]
fragile = fragile_plugin:Fragile

[sampan.encoders]
fragile = fragile_plugin:FragileEncoder
"""


def install(folder: Path) -> Path:
    """What pip would leave behind; returns the folder to put on the path."""
    return plugin_site.install(folder, "fragile_plugin", MODULE, ENTRY_POINTS)
