"""
What the plots are drawn with: escaped elements, scales, axes.

Plots are 360 units wide, so that their letters are legible on a phone without scrolling. Colours
are classes of the page's style sheet, which has a light and a dark set.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from sampan.reporting.lettering import fit, width
from sampan.reporting.wording import visible

WIDTH = 360


class Figure(NamedTuple):
    """A plot with a title that says what to see, and a note on how to read it."""

    title: str
    svg: Markup
    note: str = ""


def tag(name: str, *children: str | Markup, **attributes: str | float) -> Markup:
    """An element with escaped texts; `class_` and `aria_label` become `class` and `aria-label`."""
    inside = Markup("").join(
        child if isinstance(child, Markup) else visible(child) for child in children
    )
    named = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _attribute(value))
        for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), named, inside)


def _attribute(value: str | float) -> str:
    return visible(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def drawing(
    across: float, height: float, description: str, *children: Markup, wide: bool = False
) -> Markup:
    """The `svg` element; a `wide` one keeps its size and scrolls, all others fit the column."""
    size: dict[str, str | float] = {"width": across, "height": height} if wide else {}
    return tag(
        "svg",
        *children,
        class_="plot wide" if wide else "plot",
        viewBox=f"0 0 {across:.0f} {height:.0f}",
        role="img",
        aria_label=description,
        **size,
    )


def label(x: float, y: float, text: str, *, at: str = "start", class_: str = "") -> Markup:
    return tag("text", text, x=x, y=y, text_anchor=at, class_=class_ or "tick")


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` multiples of 1, 2 or 5 times a power of ten within [low, high]."""
    if not high > low:
        return [low]
    power = 10 ** math.floor(math.log10((high - low) / most))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [number * step for number in range(first, last + 1)]


def plain(number: float) -> str:
    """A tick's number: no digits that say nothing."""
    return f"{number:,.10g}" if abs(number) < 1e6 else f"{number:.3g}"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """
    The area between two axes; `x` and `y` are the ranges of the data. `left` is at least as wide as
    the numbers beside it.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    height: float = 240
    left: float = 46
    right: float = 14
    top: float = 40
    bottom: float = 42

    def __post_init__(self) -> None:
        widest = max(width(plain(value)) for value in ticks(*self.y))
        object.__setattr__(self, "left", max(self.left, widest + 8))

    def at_x(self, value: float) -> float:
        low, high = self.x
        return self.left + (value - low) / (high - low) * (WIDTH - self.left - self.right)

    def at_y(self, value: float) -> float:
        low, high = self.y
        return (
            self.height
            - self.bottom
            - (value - low) / (high - low) * (self.height - self.top - self.bottom)
        )

    def axes(
        self,
        x_label: str,
        y_label: str,
        *,
        x_ticks: Sequence[float] | None = None,
    ) -> list[Markup]:
        """Grid lines with numbers, and both labels written horizontally."""
        across, floor = WIDTH - self.right, self.height - self.bottom
        marks = [label(2, 14, fit(y_label, WIDTH - 4), class_="axis")]
        for value in ticks(*self.y):
            y = self.at_y(value)
            marks.append(line(self.left, y, across, y, "grid"))
            marks.append(label(self.left - 6, y + 4, plain(value), at="end"))
        for value in x_ticks if x_ticks is not None else ticks(*self.x):
            marks.append(label(self.at_x(value), floor + 17, plain(value), at="middle"))
        marks.append(line(self.left, floor, across, floor, "base"))
        middle, x_name = (self.left + across) / 2, fit(x_label, across - self.left)
        marks.append(label(middle, self.height - 6, x_name, at="middle", class_="axis"))
        return marks
