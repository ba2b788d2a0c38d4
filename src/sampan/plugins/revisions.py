"""What decides a plug-in's output: its kind, its settings, and the revision of its code."""

import dataclasses
import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan.errors import PluginError
from sampan.plugins.registry import Group, plugin_class, settings_adapter

REVISIONS: Mapping[str, int] = {
    "preprocess": 2,
    "extract": 1,
    "train": 1,
    "modalities.image": 3,
    "modalities.text": 2,
    "modalities.audio": 2,
    "encoders.hog": 1,
    "encoders.colour": 1,
    "encoders.ngrams": 1,
    "encoders.logmel": 2,
    "encoders.transformers": 2,
    "encoders.onnx": 2,
}
"""
Raised by a person when a step of ours gives other values for the same settings: makes new variants.
"""


def identity(group: Group, kind: str, plugin: Any) -> dict[str, Any]:
    """
    What decides a plug-in's output: its kind, revision and non-default settings.

    Fields whose metadata says `{"identity": False}` (a path, a batch size) are left out. Our own
    plug-ins count by the revision in `REVISIONS`, a user's by the digest of its module's source.
    """
    values = settings_adapter(group, kind).dump_python(plugin, mode="json")
    changed = {
        field.name: values[field.name]
        for field in dataclasses.fields(plugin)
        if field.metadata.get("identity", True) and getattr(plugin, field.name) != default_of(field)
    }
    return {"kind": kind, "revision": revision(group, kind), "settings": changed}


def revision(group: Group, kind: str) -> int | str:
    found = plugin_class(group, kind)
    if found.__module__.partition(".")[0] == "sampan":
        return REVISIONS[f"{group}.{kind}"]
    source = inspect.getsourcefile(found)
    if source is None:
        raise PluginError(f"{group} {kind!r}: no source file for {found.__module__}")
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16]


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The value of a dataclass field that nobody set; `MISSING` where it has to be set."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
