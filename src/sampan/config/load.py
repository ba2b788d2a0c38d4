"""Read a config file; every fault is listed at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from sampan.config.faults import faults_of
from sampan.config.references import reference_faults
from sampan.config.root import Config
from sampan.errors import ConfigError

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """SafeLoader that remembers the keys that are given twice."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self.faults: list[str] = []

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = key.start_mark.name, key.start_mark.line + 1
            if key.value in seen:
                self.faults.append(
                    f"{name}:{line}: {key.value!r} is set twice, first in line {seen[key.value]}"
                )
            seen.setdefault(key.value, line)
        return node


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        with path.open(encoding="utf-8") as file:
            loader = _Loader(file)
            found = loader.get_single_data()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except (OSError, ValueError) as fault:
        raise ConfigError(f"{path}: cannot be read: {fault}") from fault
    except yaml.YAMLError as fault:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(fault).split())}") from fault
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None
    if loader.faults:
        raise ConfigError(loader.faults)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: a mapping is expected; found {type(found).__name__}")
    return found


def parse(values: Mapping[str, Any]) -> Config:
    """The typed config, or one `ConfigError` with all faults."""
    faults = reference_faults(values)
    try:
        config = Config.model_validate(dict(values))
    except ValidationError as fault:
        faults = faults_of(fault, values, Config.model_json_schema) + faults
    if faults:
        raise ConfigError(faults)
    return config


def load(path: Path) -> Config:
    return parse(read(path))


def parse_as(kind: type[T], values: Any, where: str = "") -> T:
    """One section's settings from the JSON that a job was given."""
    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_python(values)
    except ValidationError as fault:
        raise ConfigError(faults_of(fault, values, adapter.json_schema, where)) from None
