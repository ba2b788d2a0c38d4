"""How wide a text is in a plot, and how it is shortened to fit."""

import unicodedata
from collections.abc import Iterator

from sampan.reporting.wording import visible

ELLIPSIS = "…"
_JOINER = "\u200d"
_TWO_CELLS = 13.0
_WIDTHS = {
    **dict.fromkeys(" .,:;'|!iljI", 4.0),
    **dict.fromkeys('frt()[]{}/\\-"', 5.4),
    **dict.fromkeys("mwMW@%", 12.0),
    ELLIPSIS: 12.0,
}
_CAPITAL, _OTHER = 9.0, 7.7
"""Units of letters 12 units high in DejaVu Sans, the widest of the fonts that a page may get."""


def width(text: str) -> float:
    """Units that a text takes in a plot, at most about."""
    return sum(map(_width, _clusters(visible(text))))


def fit(text: str, units: float) -> str:
    """The text, or as much of its beginning as fits with an ellipsis; signs are kept whole."""
    shown = visible(text)
    if width(shown) <= units:
        return shown
    left, kept = units - _WIDTHS[ELLIPSIS], ""
    for cluster in _clusters(shown):
        left -= _width(cluster)
        if left < 0:
            break
        kept += cluster
    return kept.rstrip() + ELLIPSIS


def _width(cluster: str) -> float:
    first = cluster[0]
    if len(cluster) > 1 and cluster[1] in "\ufe0f\u20e3":
        return _TWO_CELLS
    if unicodedata.east_asian_width(first) in "WF" or _is_flag(first):
        return _TWO_CELLS
    return _WIDTHS.get(first, _CAPITAL if first.isupper() else _OTHER)


def _clusters(text: str) -> Iterator[str]:
    """Letters with their marks, emoji with what is joined to them, flags: what is drawn as one."""
    cluster = ""
    for sign in text:
        joins = cluster and (
            unicodedata.category(sign).startswith("M")
            or sign == _JOINER
            or cluster[-1] == _JOINER
            or "\U0001f3fb" <= sign <= "\U0001f3ff"
            or (_is_flag(sign) and len(cluster) == 1 and _is_flag(cluster))
        )
        if cluster and not joins:
            yield cluster
            cluster = ""
        cluster += sign
    if cluster:
        yield cluster


def _is_flag(sign: str) -> bool:
    return "\U0001f1e6" <= sign[0] <= "\U0001f1ff"
