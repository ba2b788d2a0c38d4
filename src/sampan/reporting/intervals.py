"""Metrics as dots on lines: the value, its 95 % interval, and chance."""

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from sampan.reporting.data import ShownMetric
from sampan.reporting.lettering import fit
from sampan.reporting.svg import WIDTH, Figure, drawing, label, line, tag, ticks
from sampan.reporting.wording import (
    direction_of,
    headline,
    interval,
    is_share,
    listed,
    metric_name,
    metric_value,
)

_LEFT, _RIGHT, _ROW = 92, 62, 26


def metric_intervals(metrics: Sequence[ShownMetric], samples: int) -> Figure | None:
    """All metrics that are shares, a row each under their direction; None where there are none."""
    shares = [metric for metric in metrics if is_share(metric.name) and math.isfinite(metric.value)]
    if not shares:
        return None
    low, high = _range(shares)

    def at_x(share: float) -> float:
        return _LEFT + (share - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)

    rows, y, direction = [], 10.0, ""
    for metric in shares:
        if direction_of(metric.name) != direction:
            direction = direction_of(metric.name)
            y += _ROW
            rows.append(label(0, y - 4, fit(direction, WIDTH), class_="axis"))
        y += _ROW
        rows.append(_row(metric, low, at_x, y - _ROW / 2))
    floor = y + 6
    grid = []
    for tick in ticks(100 * low, 100 * high, most=6):
        x = at_x(tick / 100)
        grid.append(line(x, 6, x, floor, "grid"))
        grid.append(label(x, floor + 16, f"{tick:g}", at="middle"))
    middle = at_x((low + high) / 2)
    grid.append(
        label(middle, floor + 34, f"%, on {samples:,} test samples", at="middle", class_="axis")
    )
    first = headline(shares)
    title = "; ".join(
        f"{metric_name(metric.name)} {metric_value(metric, metric.value)}"
        + (f" ({direction_of(metric.name)})" if direction_of(metric.name) else "")
        for metric in first
    )
    parts = ["dot: value", "bar: 95 % interval over the test samples"]
    if any(metric.chance is not None and metric.chance >= low for metric in shares):
        parts.append("triangle: chance")
    if low > 0:
        parts.append(f"the axis starts at {100 * low:g} %")
    if any(metric.chance is not None and metric.chance < low for metric in shares):
        parts.append("chance lies to the left of it")
    spoken = listed([f"{metric.name} {interval(metric)}" for metric in shares])
    svg = drawing(WIDTH, floor + 40, f"{title}. Intervals: {spoken}.", *grid, *rows)
    return Figure(title[:1].upper() + title[1:], svg, "; ".join(parts).capitalize() + ".")


def _range(shares: Sequence[ShownMetric]) -> tuple[float, float]:
    """From just below the lowest interval where all are in the upper half, else from 0."""
    lowest = min(metric.low if math.isfinite(metric.low) else metric.value for metric in shares)
    if lowest > 0.5:
        return (math.floor(lowest * 20 - 0.2) / 20, 1.0)
    ends = [(metric.value, metric.high, metric.chance or 0.0) for metric in shares]
    highest = max(end for row in ends for end in row if math.isfinite(end))
    return (0.0, min(1.0, math.ceil(highest * 10 + 0.2) / 10))


def _row(metric: ShownMetric, axis_low: float, at_x: Callable[[float], float], y: float) -> Markup:
    name = metric_name(metric.name)
    marks = [tag("title", f"{name}: {interval(metric)}"), label(12, y + 4, name)]
    if math.isfinite(metric.low) and math.isfinite(metric.high):
        start, end = at_x(metric.low), at_x(metric.high)
        marks.append(
            tag(
                "rect",
                x=start,
                y=y - 3,
                width=max(end - start, 1),
                height=6,
                rx=3,
                class_="interval",
            )
        )
    if metric.chance is not None and metric.chance >= axis_low:
        x = at_x(metric.chance)
        marks.append(tag("path", d=f"M{x:.1f} {y - 1:.1f}l-5 9h10z", class_="chance"))
    marks.append(tag("circle", cx=at_x(metric.value), cy=y, r=5, class_="value"))
    marks.append(label(WIDTH, y + 4, metric_value(metric, metric.value), at="end", class_="number"))
    return tag("g", *marks)
