"""Columns by their names, with dots for nested fields; and what to say where one is missing."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sampan.errors import DataError

SHOWN = 40
"""Names that a message lists."""
MISSING = object()
DELIMITERS = {";": "';'", "\t": '"\\t"', "|": "'|'", ",": "','"}


def places_of(file: Path, names: list[str], wanted: Sequence[str]) -> list[int]:
    """The wanted columns' places; `DataError` where one is missing or there twice."""
    faults = [
        missing(file, [name], names)
        if names.count(name) == 0
        else f"{file}: {names.count(name)} columns are called {name!r}; one is allowed"
        for name in wanted
        if names.count(name) != 1
    ]
    if faults:
        raise DataError(faults)
    return [names.index(name) for name in wanted]


def missing(
    file: Path, wanted: Sequence[str], names: Sequence[str], said: str = "no column"
) -> str:
    """Why these columns cannot be read: there are only such `names`."""
    shown = ", ".join(map(_shown, names[:SHOWN])) or "none"
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    hint = ""
    if len(names) == 1:
        sign = next((sign for sign in DELIMITERS if sign in names[0]), None)
        hint = f"; set delimiter: {DELIMITERS[sign]}" if sign else ""
    what = ", ".join(map(repr, wanted))
    return f"{file}: {said} {what}; there are: {shown}{more}{hint}"


def _shown(name: str) -> str:
    short = name if len(name) <= 80 else f"{name[:80]}…"
    return short if short.isprintable() and short == short.strip() and short else repr(short)


def splits_of(name: str) -> Iterator[tuple[str, str]]:
    """A dotted name as a field and what is inside of it, the longest field first."""
    at = name.rfind(".")
    while at > 0:
        yield name[:at], name[at + 1 :]
        at = name.rfind(".", 0, at)


def picker(wanted: Sequence[str]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """What takes the wanted values out of an object, None where it lacks one."""
    if not any("." in name for name in wanted):
        return lambda row: tuple(map(row.get, wanted))

    def pick(row: dict[str, Any]) -> tuple[Any, ...]:
        found = (value_at(row, name) for name in wanted)
        return tuple(None if value is MISSING else value for value in found)

    return pick


def value_at(row: Any, name: str) -> Any:
    """A field of an object, or of the objects inside of it; `MISSING` where there is none."""
    if not isinstance(row, dict):
        return MISSING
    if name in row:
        return row[name]
    for field, rest in splits_of(name):
        if field in row and (value := value_at(row[field], rest)) is not MISSING:
            return value
    return MISSING


def names_in(row: dict[str, Any], before: str = "") -> Iterator[str]:
    """Names of an object's fields, dotted for those of the objects inside of it."""
    for name, value in row.items():
        if isinstance(value, dict) and value and before.count(".") < 4:
            yield from names_in(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"
