"""
The shape of JSON: whether a value is what a type says.

Types are TypedDicts (members that a type does not name are left alone, so that older readers take
newer files), `list[…]`, `tuple[…]`, `dict[str, …]`, `… | None`, `Any`, `bool`, `str`, `float` (any
number), `int` (a whole number from 0 to below 2^63, as all of the store are) and `Digits`.
"""

import types
from collections.abc import Callable
from functools import cache
from typing import Any, NewType, NotRequired, Union, get_args, get_origin, get_type_hints

Digits = NewType("Digits", str)
"""A number that is a JSON object's name."""

Check = Callable[[Any], str | None]
"""Says what is wrong with a value, or None."""


@cache
def check_of(shape: Any) -> Check:
    """The check of one type, which is made once."""
    origin, inner = get_origin(shape), get_args(shape)
    if shape in _PLAIN:
        return _PLAIN[shape]
    if origin is list:
        return _list(check_of(inner[0]))
    if origin is tuple:
        return _tuple([check_of(each) for each in inner])
    if origin is dict:
        return _mapping(check_of(inner[0]), check_of(inner[1]))
    if origin in (Union, types.UnionType):
        return _one_of([check_of(each) for each in inner])
    hints = get_type_hints(shape, include_extras=True)
    return _object(
        {
            name: (get_origin(hint) is not NotRequired, check_of(_bare(hint)))
            for name, hint in hints.items()
        }
    )


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is NotRequired else hint


def _named(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), f"{value!r:.30}")


def _of(kind: str, holds: Callable[[Any], bool]) -> Check:
    return lambda value: None if holds(value) else f"is {_named(value)}, not {kind}"


_PLAIN: dict[Any, Check] = {
    Any: lambda value: None,
    object: lambda value: None,
    type(None): _of("null", lambda value: value is None),
    str: _of("text", lambda value: type(value) is str),
    bool: _of("true or false", lambda value: type(value) is bool),
    int: _of("a whole number", lambda value: type(value) is int and 0 <= value < 2**63),
    float: _of("a number", lambda value: type(value) in (int, float)),
    Digits: _of(
        "a number",
        lambda value: type(value) is str and value.isascii() and value.isdigit()
        and len(value) < 19,
    ),
}  # fmt: skip


def _at(name: object, fault: str) -> str:
    return f"{name}: {fault}" if fault.startswith("is ") else f"{name}.{fault}"


def _list(check: Check) -> Check:
    def checked(value: Any) -> str | None:
        if type(value) is not list:
            return f"is {_named(value)}, not a list"
        for i, item in enumerate(value):
            if fault := check(item):
                return _at(i, fault)
        return None

    return checked


def _tuple(checks: list[Check]) -> Check:
    def checked(value: Any) -> str | None:
        if type(value) is not list or len(value) != len(checks):
            return f"is {_named(value)}, not a list of {len(checks)}"
        for i, (item, check) in enumerate(zip(value, checks, strict=True)):
            if fault := check(item):
                return _at(i, fault)
        return None

    return checked


def _mapping(name_check: Check, check: Check) -> Check:
    def checked(value: Any) -> str | None:
        if type(value) is not dict:
            return f"is {_named(value)}, not an object"
        for name, item in value.items():
            if fault := name_check(name) or check(item):
                return _at(repr(name)[:40], fault)
        return None

    return checked


def _object(members: dict[str, tuple[bool, Check]]) -> Check:
    def checked(value: Any) -> str | None:
        if type(value) is not dict:
            return f"is {_named(value)}, not an object"
        for name, (needed, check) in members.items():
            if name not in value:
                if needed:
                    return f"{name}: is missing"
            elif fault := check(value[name]):
                return _at(name, fault)
        return None

    return checked


def _one_of(checks: list[Check]) -> Check:
    def checked(value: Any) -> str | None:
        faults = [check(value) for check in checks]
        return None if None in faults else faults[0]

    return checked
