"""What pydantic found wrong, in our words."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

Loc = tuple[int | str, ...]

_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_MISSING = {"missing", "missing_keyword_only_argument"}
_WORDS = {
    "Input should be": "should be",
    "String should": "should",
    "List should": "should",
    "Tuple should": "should",
    "Dictionary should": "should",
    "a valid tuple": "a list",
    "a valid list": "a list",
    "a valid string": "text",
    "a valid number": "a number",
    "a valid integer": "a whole number",
    "a valid boolean": "true or false",
    ", unable to parse string as a number": "",
    ", unable to parse string as an integer": "",
    ", got a number with a fractional part": "",
    " after validation": "",
}
_MAPPINGS = {"model_type", "model_attributes_type", "dict_type", "dataclass_type"}
_FIELD = re.compile(r"[a-z_]+(\.[a-z0-9_-]+)*: ")


def faults_of(
    fault: ValidationError,
    values: object,
    schema_of: Callable[[], dict[str, Any]],
    where: str = "",
) -> list[str]:
    """
    A line for each fault: where it is, what is allowed, what was found.

    `values` are those that were checked, `schema_of` makes the JSON schema that names all settings.
    Where one of several forms is allowed, what pydantic says of each of them makes one line.
    """
    schema = schema_of()
    found: dict[tuple[str, str], list[str]] = {}
    for error in fault.errors():
        place = ".".join(filter(None, (where, *_path(error["type"], error["loc"], values))))
        for before, what, after in _said(error, schema):
            place_of = f"{place}.{before}" if before and place else before or place
            said = found.setdefault((place_of, after), [])
            if what not in said:
                said.append(what)
    return [
        f"{f'{place}: ' if place else ''}{' or '.join(said)}{after}"
        for (place, after), said in found.items()
    ]


def _path(kind: str, loc: Loc, values: Any) -> Iterator[str]:
    """The parts of a location that are the user's: pydantic's names of a union's forms are not."""
    for i, part in enumerate(loc):
        is_place = isinstance(values, list | tuple) and isinstance(part, int)
        if is_place or (isinstance(values, Mapping) and part in values):
            values = values[part]
        elif kind not in _MISSING or i < len(loc) - 1:
            continue
        yield str(part)


def _said(error: Any, schema: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """A setting below the location, if it is one; what is wrong; what was found."""
    kind, found = error["type"], f"; found {_shown(error['input'])}"
    if kind == "value_error":
        for line in error["msg"].removeprefix("Value error, ").split("\n"):
            field = _FIELD.match(line)
            yield (field[0][:-2], line[field.end() :], "") if field else ("", line, "")
    elif kind in _MISSING:
        yield "", "is missing", ""
    elif kind in _UNKNOWN:
        names = sorted(_names(schema, error["loc"][:-1]))
        yield "", f"is no setting here; there are: {', '.join(names)}", ""
    elif kind == "union_tag_not_found":
        yield error["ctx"]["discriminator"].strip("'"), "is missing", ""
    elif kind == "union_tag_invalid":
        about = error["ctx"]
        tag, allowed = about["tag"], about["expected_tags"].replace("'", "")
        yield about["discriminator"].strip("'"), f"should be one of {allowed}", f"; found {tag!r}"
    elif kind == "string_pattern_mismatch" and error["loc"][-1:] == ("[key]",):
        yield "", "a name should be lower-case letters, digits and hyphens, a letter first", found
    elif kind in _MAPPINGS:
        yield "", "should be a mapping of settings", found
    else:
        message = error["msg"]
        for words, ours in _WORDS.items():
            message = message.replace(words, ours)
        yield "", message[0].lower() + message[1:], found


def _shown(found: object) -> str:
    if found is None:
        return "nothing"
    text = repr(found)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _names(schema: dict[str, Any], loc: Loc) -> set[str]:
    """The settings that there are at a location, by the JSON schema."""
    nodes = list(_forms(schema, schema))
    for part in loc:
        nodes = [form for node in nodes for form in _below(schema, node, part)]
    return {name for node in nodes for name in node.get("properties", {})}


def _below(schema: dict[str, Any], node: dict[str, Any], part: int | str) -> Iterator[Any]:
    if node.get("properties", {}).get("task", {}).get("const") == part:
        yield node
    for below in (
        node.get("properties", {}).get(part),
        node.get("items") if isinstance(part, int) else None,
        *node.get("patternProperties", {}).values(),
        node.get("additionalProperties"),
    ):
        if isinstance(below, dict):
            yield from _forms(schema, below)


def _forms(schema: dict[str, Any], node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schemas that a reference or a union stands for."""
    if "$ref" in node:
        yield from _forms(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    elif options := node.get("anyOf") or node.get("oneOf"):
        for option in options:
            yield from _forms(schema, option)
    else:
        yield node
