"""
A config's text as YAML or JSON, and what can go wrong before settings are looked at.

Keys that are given twice, values that YAML 1.1 reads as something else than they look like where
text is meant (`no` is false, `010` eight, `1:30` ninety), and texts that unfold without end.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sampan.errors import ConfigError

MOST_BYTES = 16 * 2**20
MOST_NODES = 1_000_000
"""Values of a config, each alias counted as what it stands for."""
MOST_DEEP = 50

TEXTS = [
    "datasets.*.label",
    "datasets.*.group",
    "datasets.*.split.column",
    "datasets.*.source.*.key",
    "datasets.*.source.*.na.*",
    "datasets.*.features.*.*",
    "models.*.dataset",
    "models.*.inputs.*",
    "datasets.*.modalities.*.column",
    *(f"{of}.*.split.{name}.*" for of in ("datasets", "models")
      for name in ("train", "validation", "test")),
]  # fmt: skip
"""Settings that are names of columns, groups and others, or texts that cells hold."""
NAMES = ["datasets.*", "encoders.*", "models.*", "datasets.*.modalities.*", "datasets.*.features.*"]
"""Where the key is a name that the user gives."""
VALUES = ["datasets.*.source.*.where.**"]
"""Settings that are compared with what cells hold."""
_TEXTS, _VALUES, _NAMES = (
    re.compile(
        "|".join(re.escape(path).replace(r"\*\*", ".+").replace(r"\*", "[^.]+") for path in paths)
    )
    for paths in (TEXTS, VALUES, NAMES)
)
_READ_AS = {"bool": "true or false", "int": "a number", "float": "a number", "timestamp": "a date",
            "null": "nothing"}  # fmt: skip


def values_of(path: Path) -> Any:
    """What a config file holds; one `ConfigError` with all that is wrong with its text."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror or fault}") from fault
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: larger than {MOST_BYTES:,} bytes, which no config needs")
    try:
        text = data.decode("utf-8-sig")
        return _from_json(text, path) if text.lstrip()[:1] == "{" else _from_yaml(text, path)
    except yaml.YAMLError as fault:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(fault).split())}") from fault
    except ValueError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault}") from fault
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply; {MOST_DEEP} levels are allowed") from None


def _from_json(text: str, path: Path) -> Any:
    """What Snakemake takes for JSON; YAML's flow style begins the same way."""
    faults: list[str] = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = set()
        for name, _ in pairs:
            if name in seen:
                faults.append(f"{path}: {name!r} is set twice")
            seen.add(name)
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=mapping)
    except ValueError:
        return _from_yaml(text, path)
    if faults:
        raise ConfigError(faults)
    return found


def _from_yaml(text: str, path: Path) -> Any:
    loader = yaml.SafeLoader(text)
    loader.name = str(path)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node, path)
        if faults := [*_faults(node, "")]:
            raise ConfigError(list(dict.fromkeys(faults)))
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_size(root: yaml.Node, path: Path) -> None:
    """Aliases are counted as what they stand for; one that stands for itself has no end."""
    counts: dict[int, int] = {}
    above: set[int] = set()

    def count(node: yaml.Node, depth: int) -> int:
        line = f"{path}:{node.start_mark.line + 1}"
        if id(node) in above:
            raise ConfigError(f"{line}: an alias stands for what it is a part of")
        if depth > MOST_DEEP:
            raise ConfigError(f"{line}: nested too deeply; {MOST_DEEP} levels are allowed")
        if id(node) not in counts:
            above.add(id(node))
            counts[id(node)] = 1 + sum(count(child, depth + 1) for child in _below(node))
            above.discard(id(node))
        if counts[id(node)] > MOST_NODES:
            raise ConfigError(
                f"{line}: holds {counts[id(node)]:,} values, each alias counted as what it stands "
                f"for; at most {MOST_NODES:,} are allowed"
            )
        return counts[id(node)]

    count(root, 0)


def _faults(node: yaml.Node, place: str) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen and key.value != "<<":
                yield (f"{_line(key)}: {key.value!r} is set twice, first in line {seen[key.value]}")
            seen.setdefault(key.value, key.start_mark.line + 1)
            below = f"{place}.{key.value}" if place else key.value
            is_name = bool(_NAMES.fullmatch(below)) and key.value != "<<"
            if (is_name or _VALUES.fullmatch(below)) and (fault := _misread(key, is_text=is_name)):
                yield f"{_line(key)}: {below}: {fault}"
            yield from _faults(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _faults(value, f"{place}.{number}")
    elif isinstance(node, yaml.ScalarNode):
        is_text = bool(_TEXTS.fullmatch(place))
        if (is_text or _VALUES.fullmatch(place)) and (fault := _misread(node, is_text=is_text)):
            yield f"{_line(node)}: {place}: {fault}"


def _line(node: yaml.Node) -> str:
    return f"{node.start_mark.name}:{node.start_mark.line + 1}"


def _misread(node: yaml.ScalarNode, *, is_text: bool = False) -> str | None:
    """Why a plain word is not the text that it looks like; numbers are, unless `is_text`."""
    kind = node.tag.rpartition(":")[2]
    written = node.value
    if node.style is not None or kind not in _READ_AS:
        return None
    means = _READ_AS[kind]
    if kind == "null" and is_text and not node.value.strip("~ "):
        return None  # a setting that is left at its default
    if not is_text:
        if kind == "bool" and written.lower() in ("true", "false"):
            return None
        if kind == "int" and re.fullmatch("0|-?[1-9][0-9]*", written):
            return None
    if kind == "bool":
        means = "true" if yaml.SafeLoader.bool_values[written.lower()] else "false"
    elif kind == "int" and not re.fullmatch("0|-?[1-9][0-9]*", written):
        means = str(yaml.safe_load(written))
    shown = written or "an empty value"
    return f"YAML reads {shown} as {means}; if text is meant, quote it: {json.dumps(written)}"
