"""Plug-ins by name: found through entry points, loaded when used, made of checked settings."""

import dataclasses
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from sampan.config.dataset import EncoderEntry, ModalityEntry, Section, SourceEntry
from sampan.config.faults import faults_of
from sampan.errors import ConfigError, PluginError

Group = Literal["sources", "modalities", "encoders"]

ENTRIES: Mapping[Group, type[Section]] = {
    "sources": SourceEntry,
    "modalities": ModalityEntry,
    "encoders": EncoderEntry,
}
"""What the config says of a plug-in beside the plug-in's own settings."""
DECLARED: Mapping[Group, tuple[str, ...]] = {
    "sources": (),
    "modalities": ("cell", "workers", "has_length"),
    "encoders": ("kinds", "workers", "devices"),
}
"""Class variables that a plug-in must have, since planning asks the class."""


@cache
def _entry_points(group: Group) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"sampan.{group}"):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise PluginError(
                f"two {group} are of kind {point.name!r}: {other.value} and {point.value}; "
                "remove one of the packages"
            )
    return found


def kinds(group: Group) -> list[str]:
    """Names of all plug-ins of a group that are installed."""
    return sorted(_entry_points(group))


@cache
def plugin_class(group: Group, kind: str) -> type[Any]:
    """
    The class of a plug-in; `PluginError` where there is none of that name, or its import fails.
    """
    point = _entry_points(group).get(kind)
    if point is None:
        raise PluginError(f"no {group} of kind {kind!r}; there are: {', '.join(kinds(group))}")
    try:
        loaded: type[Any] = point.load()
    except Exception as fault:
        raise PluginError(f"{group} {kind!r} ({point.value}) does not load: {fault}") from fault
    if not dataclasses.is_dataclass(loaded):
        raise PluginError(f"{group} {kind!r} ({point.value}) is no dataclass")
    if getattr(loaded, "__pydantic_config__", {}).get("extra") != "forbid":
        raise PluginError(
            f"{group} {kind!r} ({point.value}) would ignore unknown settings in silence; "
            'it needs __pydantic_config__ = {"extra": "forbid"}'
        )
    if missing := [name for name in DECLARED[group] if not hasattr(loaded, name)]:
        raise PluginError(
            f"{group} {kind!r} ({point.value}) does not declare {', '.join(missing)}; it needs "
            f"{', '.join(DECLARED[group])} as class variables (docs/reference/plug-ins.md)"
        )
    return loaded


def make(group: Group, settings: Mapping[str, Any], where: str) -> Any:
    """
    The plug-in for `{kind: …, **settings}`; all its faults in one `ConfigError`, each at `where`.
    """
    kind = str(settings.get("kind"))
    try:
        adapter = settings_adapter(group, kind)
    except PluginError as fault:
        raise ConfigError([f"{where}: {line}" for line in fault.faults]) from fault
    values = {name: value for name, value in settings.items() if name != "kind"}
    try:
        return adapter.validate_python(values)
    except ValidationError as fault:
        lines = faults_of(fault, values, lambda: settings_schema(group, kind), where)
        raise ConfigError(lines) from None


@cache
def settings_adapter(group: Group, kind: str) -> TypeAdapter[Any]:
    found = plugin_class(group, kind)
    try:
        return TypeAdapter(found)
    except (PydanticUserError, SchemaError, NameError) as fault:
        raise PluginError(
            f"{group} {kind!r} ({found.__module__}): pydantic cannot check its settings: {fault}"
        ) from fault


def settings_schema(group: Group, kind: str) -> dict[str, Any]:
    """JSON schema of a config's entry for a plug-in: the plug-in's settings, and the entry's."""
    entry = ENTRIES[group].model_json_schema()
    own = settings_adapter(group, kind).json_schema()
    properties = entry["properties"] | own.get("properties", {}) | {"kind": {"const": kind}}
    found = {
        "type": "object",
        "title": kind,
        "description": own.get("description", ""),
        "properties": properties,
        "required": sorted({*entry["required"], *own.get("required", [])}),
        "additionalProperties": False,
    }
    return found | ({"$defs": own["$defs"]} if "$defs" in own else {})
