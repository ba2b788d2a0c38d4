"""Read a config file; every fault is listed at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from sampan.config.faults import faults_of
from sampan.config.root import Config
from sampan.errors import ConfigError

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                mark = key_node.start_mark
                raise ConfigError(f"{mark.name}:{mark.line + 1}: {key!r} is set twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        with path.open(encoding="utf-8") as file:
            found = _Loader(file).get_single_data()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: cannot be read: {fault}") from fault
    except yaml.YAMLError as fault:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(fault).split())}") from fault
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: a mapping is expected; found {type(found).__name__}")
    return found


def parse(values: Mapping[str, Any]) -> Config:
    """The typed config, or one `ConfigError` with all faults."""
    try:
        return Config.model_validate(dict(values))
    except ValidationError as fault:
        raise ConfigError(faults_of(fault)) from None


def load(path: Path) -> Config:
    return parse(read(path))


def parse_as(kind: type[T], values: Any, where: str = "") -> T:
    """One section's settings from the JSON that a job was given."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as fault:
        raise ConfigError(faults_of(fault, where)) from None
