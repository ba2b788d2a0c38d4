"""Rows of JSON Lines, each with the byte offset at which reading can start again."""

import csv
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sampan.errors import DataError
from sampan.sources.columns import MISSING, missing, names_in, picker, value_at
from sampan.sources.lines import Lines, Row, is_text, not_in

DEEPEST = 100
"""Lists and objects inside of one another."""
_RETURN_BETWEEN = re.compile(r"\}\s*\r\s*\{")


def jsonl_rows(
    file: Path, raw: IO[bytes], wanted: tuple[str, ...], start: int, *, encoding: str
) -> Iterator[Row]:
    """
    Objects from byte `start` on (blank lines are no rows), null where one lacks a column.

    `DataError` for a JSON array, for line ends that are carriage returns, and, at the end of a file
    that was read whole, where no row has a column.
    """
    lines = Lines(file, raw, encoding)
    if start:
        lines.seek(start)
    unseen = set(wanted)
    names: dict[str, None] = {}
    is_first, any_object = not start, False
    pick = picker(wanted)
    texts = iter(lines)
    while True:
        offset = lines.offset
        try:
            line = next(texts)
            if line.isspace():
                continue
            row = json.loads(line)
        except StopIteration:
            break
        except csv.Error as fault:
            yield offset, f"unreadable row: {fault}"
            texts = iter(lines)
            continue
        except (ValueError, RecursionError) as fault:
            if _RETURN_BETWEEN.search(line):
                raise DataError(old_line_ends(file)) from None
            if is_first and line.lstrip().startswith("["):
                raise DataError(_array(file)) from None
            if is_first and line.strip() == "{":
                raise DataError(_spread(file)) from None
            is_first = False
            yield offset, f"not JSON: {fault}"
            lines.torn = False
            continue
        if not isinstance(row, dict):
            if is_first and isinstance(row, list) and any(isinstance(item, dict) for item in row):
                raise DataError(_array(file))
            is_first = False
            yield offset, f"not a JSON object: {type(row).__name__}"
            lines.torn = False
            continue
        if unseen:
            is_first, any_object = False, True
            unseen = {name for name in unseen if value_at(row, name) is MISSING}
            if unseen and len(names) < 1000:
                names |= dict.fromkeys(names_in(row))
        cells = pick(row)
        if len(line) > 2 * DEEPEST and _is_deep(line, cells):
            yield offset, f"nested too deeply: more than {DEEPEST} lists and objects in each other"
        elif (lines.torn or "\\u" in line) and not is_text(cells):
            why = not_in(encoding) if lines.torn else "not text: half of a surrogate pair"
            yield offset, why
        else:
            yield offset, cells
        lines.torn = False
    if any_object and unseen and not start:
        lacking = [name for name in wanted if name in unseen]
        raise DataError(missing(file, lacking, list(names), "no row has the column"))


def _is_deep(line: str, cells: tuple[Any, ...]) -> bool:
    if line.count("[") + line.count("{") <= DEEPEST:
        return False
    level: list[Any] = list(cells)
    for _ in range(DEEPEST):
        level = [
            item
            for value in level
            if isinstance(value, list | dict)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True


def old_line_ends(file: Path) -> str:
    """What to say of a table with carriage returns where rows end."""
    name = shlex.quote(str(file))
    return (
        f"{file}: rows end with carriage returns alone, as on old Macs; convert it: "
        f"tr '\\r' '\\n' < {name} > lf-{shlex.quote(file.name)}"
    )


def _array(file: Path) -> str:
    name = shlex.quote(str(file))
    return (
        f"{file}: a JSON array, not JSON Lines (an object a line); convert it: "
        f"jq -c '.[]' {name} > {shlex.quote(f'{file.stem}.jsonl')}"
    )


def _spread(file: Path) -> str:
    name = shlex.quote(str(file))
    return (
        f"{file}: JSON objects over several lines, not JSON Lines (an object a line); convert it: "
        f"jq -c . {name} > {shlex.quote(f'{file.stem}.jsonl')}"
    )
