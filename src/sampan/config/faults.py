"""What pydantic found wrong, in our words."""

from pydantic import ValidationError

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is no setting here",
    "unexpected_keyword_argument": "is no setting here",
    "missing_keyword_only_argument": "is missing",
}


def faults_of(fault: ValidationError, where: str = "") -> list[str]:
    """A line for each fault: where it is, what is wrong, what was found."""
    return [
        line
        for error in fault.errors()
        for line in _lines(error["type"], error["loc"], error["msg"], error["input"], where)
    ]


def _lines(
    kind: str, loc: tuple[int | str, ...], message: str, found: object, where: str
) -> list[str]:
    place = ".".join(part for part in (where, *map(str, loc)) if part)
    prefix = f"{place}: " if place else ""
    if kind == "value_error":
        return [prefix + line for line in message.removeprefix("Value error, ").split("\n")]
    if kind in _WORDS:
        return [f"{place}: {_WORDS[kind]}"]
    return [f"{prefix}{message[0].lower()}{message[1:]}; found {found!r}"]
