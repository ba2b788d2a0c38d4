"""How labels, values and predictions are spread."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.reporting.data import LabelCount, Predictions
from sampan.reporting.lettering import fit, width
from sampan.reporting.svg import WIDTH, Figure, Frame, drawing, label, line, tag, ticks
from sampan.reporting.wording import count, shorten, significant

LABELS = 24
"""Labels with a bar of their own; the smallest share one."""
POINTS = 2000
_RIGHT, _ROW = 46, 20
_WIDEST_LABEL = 132.0


def split_class(splits: Mapping[str, int], split: str) -> str:
    """The colour class of a split, by its place."""
    known = ("train", "validation", "test")
    return f"split-{known.index(split) + 1 if split in known else 4 + list(splits).index(split)}"


def label_bars(labels: Sequence[LabelCount], splits: Mapping[str, int], name: str) -> Figure | None:
    """A bar a label, stacked by split in the order of `splits`; None without labels."""
    if not labels:
        return None
    rows = _largest(labels)
    totals = [sum(row.splits.values()) for row in rows]
    most = max(max(totals), 1)
    names = [fit(row.label, _WIDEST_LABEL) for row in rows]
    start = 10 + max(map(width, names))
    marks = []
    for place, (row, shown, total) in enumerate(zip(rows, names, totals, strict=True)):
        y, x = 6 + place * _ROW, start
        bar = [
            tag("title", f"{row.label}: " + ", ".join(f"{s} {n:,}" for s, n in row.splits.items()))
        ]
        bar.append(label(start - 8, y + 13, shown, at="end"))
        for split in [s for s in splits if row.splits.get(s)]:
            long = row.splits[split] / most * (WIDTH - start - _RIGHT)
            bar.append(
                tag("rect", x=x, y=y + 2, width=max(long - 1, 0.5), height=_ROW - 5,
                    class_=split_class(splits, split))
            )  # fmt: skip
            x += long
        bar.append(label(x + 5, y + 13, count(total), class_="number"))
        marks.append(tag("g", *bar))
    height = 10 + _ROW * len(rows) + 22
    marks.append(label(start, height - 6, "samples", class_="axis"))
    largest = max(labels, key=lambda row: sum(row.splits.values()))
    smallest = min(labels, key=lambda row: sum(row.splits.values()))
    few, many = sum(smallest.splits.values()), sum(largest.splits.values())
    spread = count(few, "sample") if few == many else f"{few:,} to {many:,} samples"
    title = f"{count(len(labels), name)}, {spread} each"
    ends = ""
    if few < many:
        least, greatest = (shorten(row.label, 60) for row in (smallest, largest))
        ends = f"Smallest: {least}; largest: {greatest}. "
    note = f"{ends}Coloured by split, as in the table."
    return Figure(title, drawing(WIDTH, height, title, *marks), note)


def _largest(labels: Sequence[LabelCount]) -> list[LabelCount]:
    if len(labels) <= LABELS:
        return list(labels)
    ordered = sorted(labels, key=lambda row: -sum(row.splits.values()))
    rest: dict[str, int] = {}
    for row in ordered[LABELS - 1 :]:
        for split, number in row.splits.items():
            rest[split] = rest.get(split, 0) + number
    others = LabelCount(label=f"{len(labels) - LABELS + 1:,} others", splits=rest)
    return [*ordered[: LABELS - 1], others]


def _spread(values: NDArray[Any]) -> tuple[float, float]:
    """The smallest and the largest, set apart where floats have no bins between them."""
    low, high, size = float(values.min()), float(values.max()), float(np.abs(values).max())
    if high - low > 1000 * np.spacing(size):
        return low, high
    margin = max(0.5, size / 100)
    return low - margin, high + margin


def value_histogram(values: NDArray[Any], name: str) -> Figure | None:
    """A numeric label in 24 equal bins; None where no value is finite."""
    finite = values[np.isfinite(values)].astype(float)
    if not finite.size:
        return None
    counts, edges = np.histogram(finite, bins=24, range=_spread(finite))
    frame = Frame(x=(float(edges[0]), float(edges[-1])), y=(0.0, float(counts.max()) * 1.05))
    marks = frame.axes(name, "samples")
    for number, low, high in zip(counts, edges, edges[1:], strict=False):
        x, y = frame.at_x(low), frame.at_y(number)
        place = {
            "x": x + 0.5,
            "y": y,
            "width": frame.at_x(high) - x - 1,
            "height": frame.at_y(0) - y,
        }
        tip = f"{significant(low)} to {significant(high)}: {count(int(number), 'sample')}"
        marks.append(tag("rect", tag("title", tip), **place, class_="split-1"))
    low, middle, high = (significant(float(number)) for number in np.quantile(finite, (0, 0.5, 1)))
    title = f"{name}: {low} to {high}, half of the samples below {middle}"
    return Figure(title, drawing(WIDTH, frame.height, title, *marks))


def prediction_scatter(predictions: Predictions) -> Figure | None:
    """Predicted against true values around the diagonal; an even selection where there are many."""
    finite = np.isfinite(predictions.true) & np.isfinite(predictions.predicted)
    true, predicted = predictions.true[finite], predictions.predicted[finite]
    if not true.size:
        return None
    low, high = float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))
    margin = (high - low) * 0.04 or 1.0
    span = (low - margin, high + margin)
    frame = Frame(x=span, y=span, height=360)
    unit = f", {predictions.unit}" if predictions.unit else ""
    marks = frame.axes(
        f"true {predictions.target}{unit}",
        f"predicted {predictions.target}{unit}",
        x_ticks=ticks(*span),
    )
    left, right = (frame.at_x(end) for end in span)
    marks.append(line(left, frame.at_y(span[0]), right, frame.at_y(span[1]), "chance-line"))
    chosen = np.linspace(0, true.size - 1, min(POINTS, true.size)).round().astype(int)
    path = "".join(
        f"M{frame.at_x(x):.1f} {frame.at_y(y):.1f}h0"
        for x, y in zip(true[chosen], predicted[chosen], strict=True)
    )
    marks.append(tag("path", d=path, class_="points"))
    error = f"{significant(float(np.median(np.abs(true - predicted))))} {predictions.unit}".rstrip()
    title = f"Half of the predictions are within {error} of the true {predictions.target}"
    shown = (
        f" {count(chosen.size)} of {count(true.size)} samples are drawn."
        if chosen.size < true.size
        else ""
    )
    svg = drawing(WIDTH, frame.height, title, *marks)
    return Figure(
        title, svg, f"A point a test sample; on the dashed line predicted equals true.{shown}"
    )
