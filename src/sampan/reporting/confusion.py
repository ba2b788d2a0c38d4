"""The confusion matrix of a classifier, and which pairs it confuses most."""

from markupsafe import Markup

from sampan.reporting.data import Confusion
from sampan.reporting.lettering import fit, width
from sampan.reporting.svg import WIDTH, Figure, drawing, label, tag
from sampan.reporting.wording import count, percent, shorten

_NUMBERS_UP_TO = 20
"""Labels beyond which a cell is too small for its number."""
_SMALLEST_CELL, _LARGEST_CELL = 15.0, 46.0
_WIDEST_LABEL = 116.0


def confused_pairs(confusion: Confusion, most: int = 5) -> list[tuple[str, str, int]]:
    """(true, predicted, count) off the diagonal, the most frequent first; all happened."""
    pairs = [
        (true, predicted, int(confusion.counts[row, column]))
        for row, true in enumerate(confusion.labels)
        for column, predicted in enumerate(confusion.labels)
        if row != column and confusion.counts[row, column] > 0
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:most]


def confusion_matrix(confusion: Confusion) -> Figure:
    """Rows are true labels, columns predictions; shaded by share of the row, with counts."""
    names = [fit(name, _WIDEST_LABEL) for name in confusion.labels]
    widest = max(map(width, names), default=8.0)
    num = max(len(names), 1)
    left = 26 + widest
    cell = min(max((WIDTH - left - 2) / num, _SMALLEST_CELL), _LARGEST_CELL)
    top, upright = 4.0, widest > cell - 2
    side = cell * num
    marks = [
        _cell(confusion, row, column, left + column * cell, top + row * cell, cell)
        for row in range(len(names))
        for column in range(len(names))
    ]
    for place, name in enumerate(names):
        middle = (place + 0.5) * cell
        tip = tag("title", shorten(confusion.labels[place], 200))
        marks.append(tag("g", tip, label(left - 6, top + middle + 4, name, at="end")))
        x, y = left + middle, top + side + (8 if upright else 15)
        turned = {"transform": f"rotate(-90 {x:.1f} {y:.1f})"} if upright else {}
        marks.append(
            tag("text", name, x=x + (4 if upright else 0), y=y, class_="tick",
                text_anchor="end" if upright else "middle", **turned)
        )  # fmt: skip
    bottom = top + side + (14 + widest if upright else 22)
    marks.append(label(left + side / 2, bottom + 14, "predicted label", at="middle", class_="axis"))
    middle = top + side / 2
    marks.append(
        tag("text", "true label", x=12, y=middle, text_anchor="middle", class_="axis",
            transform=f"rotate(-90 12 {middle:.1f})")
    )  # fmt: skip
    whole, title = max(left + side + 2, WIDTH), _title(confusion)  # narrower would be magnified
    svg = drawing(whole, bottom + 20, title, *marks, wide=whole > WIDTH + 1)
    numbers = "numbers are test samples" if num <= _NUMBERS_UP_TO else "hover for the numbers"
    return Figure(
        title, svg, f"Stronger colour: a larger share of the true label's samples; {numbers}."
    )


def _title(confusion: Confusion) -> str:
    total, right = int(confusion.counts.sum()), int(confusion.counts.trace())
    pairs = confused_pairs(confusion, 1)
    if confusion.of is not None and confusion.of > len(confusion.labels):
        shown = f"The {count(len(confusion.labels), 'label')} of {count(confusion.of)} "
        return f"{shown}that are confused most" if pairs else f"{shown}that come first"
    if not pairs:
        return f"All {count(total, 'test sample')} on the diagonal: no mistakes"
    true, predicted, times = pairs[0]
    return (
        f"{count(right)} of {count(total)} on the diagonal; "
        f"most often {_short(true)} was taken for {_short(predicted)} ({count(times, 'time')})"
    )


def _cell(confusion: Confusion, row: int, column: int, x: float, y: float, cell: float) -> Markup:
    times, total = int(confusion.counts[row, column]), int(confusion.counts[row].sum())
    share = times / total if total else 0.0
    true, predicted = (shorten(confusion.labels[place], 80) for place in (row, column))
    shown = f"{true} taken for {predicted}" if row != column else f"{true} recognised"
    marks = [tag("title", f"{shown}: {times:,} of {total:,}, {percent(share)}")]
    place = {"x": x + 0.75, "y": y + 0.75, "width": cell - 1.5, "height": cell - 1.5, "rx": 2.0}
    marks.append(
        tag("rect", **place, class_="cell empty diagonal" if row == column else "cell empty")
    )
    if times:
        marks.append(tag("rect", **place, class_="cell", fill_opacity=f"{0.1 + 0.9 * share:.2f}"))
    if times and len(confusion.labels) <= _NUMBERS_UP_TO:
        class_ = "count over" if share > 0.65 else "count"
        marks.append(
            label(x + cell / 2, y + cell / 2 + 4, f"{times:,}", at="middle", class_=class_)
        )
    return tag("g", *marks)


def _short(name: str) -> str:
    return fit(name, _WIDEST_LABEL)
