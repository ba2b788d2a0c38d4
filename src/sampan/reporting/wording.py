"""Numbers with separators and units, names in words, and texts that cannot upset the page."""

import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from sampan.quantities import DASH
from sampan.reporting.data import ShownMetric
from sampan.terminal import UNSAFE

_AT = re.compile(r"recall_at_(\d+)")

_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "r2": "R²",
    "mae": "mean absolute error",
    "median_rank": "median rank",
}


def ended_best(epochs: int) -> str:
    """What to think of a model whose last epoch was its best."""
    return (
        f"The last epoch, {count(epochs)}, was the best: trained longer it may get better; "
        f"set epochs: {2 * epochs}"
    )


def visible(text: str) -> str:
    """
    The text with what HTML forbids or a browser obeys silently written out as `\\u202e`.

    Control characters, lone surrogates and overrides of the writing direction; line ends and tabs
    stay, and so do the joiners that emoji and scripts are made with.
    """
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text.replace("\r\n", "\n"))


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, and how many there are where that is less than all."""
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()}… ({count(len(text), 'character')})"


def count(number: int, noun: str = "", plural: str = "") -> str:
    """`1,797`, or with a noun `1,797 samples`."""
    words = f" {noun if number == 1 else plural or noun + 's'}" if noun else ""
    return f"{number:,}{words}"


def percent(share: float) -> str:
    """`97.8 %`; never rounded up to 100 % or down to 0 % unless it is that."""
    if not math.isfinite(share):
        return DASH
    shown = round(100 * share, 1)
    if shown == 100 and share < 1:
        return "> 99.9 %"
    if shown == 0 and share > 0:
        return "< 0.1 %"
    return f"{shown:.0f} %" if shown in (0, 100) else f"{shown:.1f} %"


def significant(number: float) -> str:
    """Three significant digits without an exponent where the number is of a readable size."""
    if not math.isfinite(number):
        return DASH
    if number == 0:
        return "0"
    exponent = int(f"{number:.2e}".partition("e")[2])
    if not -4 <= exponent <= 11:
        return f"{number:.2e}"
    return f"{round(number, 2 - exponent):,.{max(0, 2 - exponent)}f}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def direction_of(name: str) -> str:
    """`image → caption` of `image→caption/recall_at_1`, empty where the metric has no direction."""
    direction, slash, _ = name.rpartition("/")
    return direction.replace("→", " → ") if slash else ""


def metric_name(name: str) -> str:
    """A metric in words, without its direction."""
    last, of, items = name.rpartition("/")[2].partition("_of_")
    before, recall, k = last.partition("recall_at_")
    words = f"{before.replace('_', ' ')}recall@{k}" if recall else ""
    among = f" of {int(items):,} sampled items" if of and items.isdecimal() else f"{of}{items}"
    return (words or _NAMES.get(last, last.replace("_", " "))) + among.replace("_", " ")


def is_share(name: str) -> bool:
    """Whether a metric is a share of the test samples, shown in percent."""
    last = name.rpartition("/")[2]
    return last in ("accuracy", "macro_f1") or "recall_at_" in last


def metric_value(metric: ShownMetric, number: float | None) -> str:
    """One number of a metric in its unit; a dash for what was not measured."""
    if number is None or not math.isfinite(number):
        return DASH
    if is_share(metric.name):
        return percent(number)
    return f"{_error(metric, number)} {metric.unit}".rstrip()


def interval(metric: ShownMetric) -> str:
    """
    `96.1 to 99.2 %`: both ends in one unit. A dash where resamples say nothing: an error of no
    width comes from one sample, or from samples that are all alike.
    """
    if not (math.isfinite(metric.low) and math.isfinite(metric.high)):
        return DASH
    if metric.low == metric.high and not metric.name.endswith("rank"):
        return DASH
    if is_share(metric.name):
        return f"{100 * metric.low:.1f} to {100 * metric.high:.1f} %"
    return f"{_error(metric, metric.low)} to {_error(metric, metric.high)} {metric.unit}".rstrip()


def _error(metric: ShownMetric, number: float) -> str:
    """Ranks are whole or half; anything else has three significant digits."""
    return f"{number:,.10g}" if metric.name.endswith("rank") else significant(number)


def is_exact(metric: ShownMetric) -> bool:
    """Whether the interval is the exact one, of a share of all test samples or of none."""
    return is_share(metric.name) and metric.value in (0, 1)


def times_chance(metric: ShownMetric) -> str:
    """`5.8 ×` chance, for shares only: of an error or a rank less is better."""
    if not metric.chance or not is_share(metric.name) or not math.isfinite(metric.value):
        return DASH
    return f"{significant(metric.value / metric.chance)} ×"


def in_order(labels: Iterable[str]) -> list[str]:
    """Numbers by their value, then everything else by name."""

    def place(label: str) -> tuple[bool, float, str]:
        with suppress(ValueError):
            if math.isfinite(number := float(label)):
                return (False, number, label)
        return (True, 0.0, label)

    return sorted(labels, key=place)


def headline(metrics: Sequence[ShownMetric]) -> list[ShownMetric]:
    """
    The metrics to name first: accuracy, R², or one recall of each direction.

    That is recall@10, unless there are so few items that chance alone reaches a half.
    """
    for last in ("accuracy", "r2"):
        chosen = [metric for metric in metrics if metric.name.rpartition("/")[2] == last]
        if chosen:
            return chosen
    recalls: dict[str, list[ShownMetric]] = {}
    for metric in metrics:
        if metric.name.rpartition("/")[2].startswith("recall_at_"):
            recalls.setdefault(direction_of(metric.name), []).append(metric)
    return [_telling(found) for found in recalls.values()] or list(metrics[:1])


def _telling(recalls: Sequence[ShownMetric]) -> ShownMetric:
    ordered = sorted(recalls, key=lambda metric: int(_AT.findall(metric.name)[-1]))
    return next((metric for metric in reversed(ordered) if (metric.chance or 0) < 0.5), ordered[0])
