"""Values of tables as text: keys, labels, and the cells of modalities."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sampan.config.labels import tidy
from sampan.errors import InvalidSample

EXACT = 10**16
"""From here on Python writes floats with an exponent."""


def text_of(value: Any) -> str | None:
    """
    One value as text; None where there is none: null, NaN, an empty text.

    Numbers as they are written, without an exponent where they are decimals; dates, times and
    durations in ISO 8601; bytes as the UTF-8 that they hold. `InvalidSample` for other bytes, lists
    and objects.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        raise InvalidSample("it holds a list, where one text or number is needed")
    if isinstance(value, dict):
        field = next(iter(value), "field")
        raise InvalidSample(
            "it holds an object, where one text or number is needed; name a field of it, with a "
            f"dot before, such as .{field}"
        )
    if isinstance(value, bytes):
        return _decoded(value)
    if value != value:
        return None
    if isinstance(value, Decimal):
        return format(value, "f") if abs(value) < EXACT else str(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if isinstance(value, timedelta):
        return _duration(value)
    return str(value)


def label_of(value: Any) -> str | None:
    """
    A label, group or split in its one form (`sampan.config.labels`); None where there is none.

    `InvalidSample` as in `text_of`.
    """
    if isinstance(value, float | Decimal) and value == value and -EXACT < value < EXACT:
        whole = int(value)
        if whole == value:
            return str(whole)
        value = value.normalize() if isinstance(value, Decimal) else value
    text = text_of(value)
    return None if text is None else tidy(text) or None


def cell_of(value: Any) -> str | bytes | None:
    """
    A modality's cell: text, or bytes as they are.

    An object of `bytes` and `path`, as Hugging Face writes pictures and sounds, is its bytes, or
    its path where it has none. A list of texts is joined, other lists and objects are JSON.
    `InvalidSample` for bytes inside of these.
    """
    if value is None or isinstance(value, str | bytes):
        return value
    if isinstance(value, dict) and "bytes" in value and value.keys() <= {"bytes", "path"}:
        return _media(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, list | tuple | dict):
        try:
            return json.dumps(value, ensure_ascii=False, default=_in_json)
        except _BytesInside:
            change = (
                "name a field, such as column.bytes"
                if isinstance(value, dict)
                else "a cell is one picture, sound or text: give each a row or a column"
            )
            raise InvalidSample(f"bytes are inside of a list or object; {change}") from None
        except (TypeError, ValueError, RecursionError) as fault:
            raise InvalidSample(f"a list or object that has no text: {fault}") from None
    return text_of(value)


def _media(value: dict[str, Any]) -> str | bytes | None:
    data, path = value["bytes"], value.get("path")
    found = data if data or path is None else path
    if found is None or isinstance(found, str | bytes):
        return found
    raise InvalidSample("an object of bytes and path that holds neither bytes nor a text")


class _BytesInside(Exception):
    """JSON has no bytes."""


def _in_json(value: Any) -> str | None:
    if isinstance(value, bytes):
        raise _BytesInside
    return text_of(value)


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidSample("it holds bytes that are not UTF-8, where a text is needed") from None


def _duration(value: timedelta) -> str:
    sign, value = ("-", -value) if value < timedelta(0) else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    fraction = f".{value.microseconds:06d}" if value.microseconds else ""
    return f"{sign}P{value.days}DT{minutes // 60}H{minutes % 60}M{seconds}{fraction}S"
