"""Training curves: what was measured at the end of every epoch."""

from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from sampan.reporting.data import History
from sampan.reporting.svg import WIDTH, Figure, Frame, drawing, label, line, plain, tag, ticks
from sampan.reporting.wording import count, is_share, metric_name, percent, significant


def loss_curves(history: History) -> Figure:
    """Training and validation loss, with the epoch that was kept."""
    best = _at_best(history, history.validation_loss)
    title = f"Epoch {history.best_epoch} was kept"
    if best is not None:
        title += f": validation loss {significant(best)}"
    drawn = [
        ("training", history.train_loss, "line train"),
        ("validation", history.validation_loss, "line validation"),
    ]
    return Figure(title, _curves(history, drawn, "loss", title))


def metric_curve(history: History) -> Figure | None:
    """The validation metric, or None where none was watched."""
    if history.metric is None:
        return None
    name, best = metric_name(history.metric_name), _at_best(history, history.metric)
    share = is_share(history.metric_name)
    title = f"Validation {name}"
    if best is not None:
        title += (
            f" was {percent(best) if share else significant(best)} at epoch {history.best_epoch}"
        )
    if history.samples is not None:
        title += f", on {count(history.samples, 'sample')}"
    values = 100 * history.metric if share else history.metric
    drawn = [("validation", values, "line validation")]
    return Figure(title, _curves(history, drawn, f"{name}, %" if share else name, title))


def _at_best(history: History, values: NDArray[Any]) -> float | None:
    found = values[(history.epoch == history.best_epoch) & np.isfinite(values)]
    return float(found[0]) if found.size else None


def _curves(
    history: History, drawn: list[tuple[str, NDArray[Any], str]], y_label: str, title: str
) -> Markup:
    epochs = history.epoch.astype(float)
    finite = np.concatenate([values[np.isfinite(values)] for _, values, _ in drawn])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    low = min(low, 0.0) if low < high / 2 else low - (high - low) / 10
    high = high + (high - low) * 0.06 if high > low else low + 1
    last = float(epochs.max(initial=1))
    frame = Frame(x=(min(1.0, last - 1), last), y=(low, high))
    whole = [tick for tick in ticks(*frame.x) if tick == round(tick) and tick >= 1]
    marks = frame.axes("epoch", y_label, x_ticks=whole or [last])

    x = frame.at_x(history.best_epoch)
    marks.append(line(x, frame.top, x, frame.height - frame.bottom, "best"))
    marks.append(label(x, frame.top - 4, "kept", at="middle"))
    for _, values, class_ in drawn:
        marks.extend(_line(frame, epochs, values, class_))
    if len(drawn) > 1:
        marks.extend(_legend(drawn))
    return drawing(WIDTH, frame.height, f"{title}. {_spoken(drawn)}", *marks)


def _line(frame: Frame, epochs: NDArray[Any], values: NDArray[Any], class_: str) -> list[Markup]:
    """Broken where a value is missing; a value alone between two gaps becomes a dot."""
    runs: list[list[tuple[float, float]]] = [[]]
    for epoch, value in zip(epochs, values, strict=True):
        if np.isfinite(value):
            runs[-1].append((frame.at_x(epoch), frame.at_y(value)))
        elif runs[-1]:
            runs.append([])
    return [
        tag("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in run), class_=class_)
        if len(run) > 1
        else tag("circle", cx=run[0][0], cy=run[0][1], r=3, class_=class_ + " dot")
        for run in runs
        if run
    ]


def _legend(drawn: list[tuple[str, NDArray[Any], str]]) -> list[Markup]:
    marks, x = [], 168.0
    for name, _, class_ in drawn:
        marks.append(line(x, 10, x + 24, 10, class_))
        marks.append(label(x + 30, 14, name))
        x += 50 + 6.5 * len(name)
    return marks


def _spoken(drawn: list[tuple[str, NDArray[Any], str]]) -> str:
    spoken = (
        f"{name}: from {plain(float(f'{values[0]:.3g}'))} to {plain(float(f'{values[-1]:.3g}'))}"
        for name, values, _ in drawn
        if len(values)
    )
    return "; ".join(spoken) + "."
