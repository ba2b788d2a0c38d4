"""Read a config file; every fault is listed at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sampan.config.faults import faults_of
from sampan.config.paths import path_faults, with_homes
from sampan.config.references import reference_faults
from sampan.config.root import Config
from sampan.config.text import values_of
from sampan.errors import ConfigError

T = TypeVar("T")


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file."""
    found = values_of(path)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: a mapping is expected; found {type(found).__name__}")
    return found


def parse(values: Mapping[str, Any]) -> Config:
    """The typed config, or one `ConfigError` with all faults."""
    values = with_homes(values)
    faults = [*path_faults(values), *reference_faults(values)]
    try:
        config = Config.model_validate(values)
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
