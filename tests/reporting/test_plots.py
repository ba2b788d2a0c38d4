"""Plots place what they are given where arithmetic says it belongs."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup
from reporting.demo import history

from sampan.reporting.confusion import confused_pairs, confusion_matrix
from sampan.reporting.curves import loss_curves, metric_curve
from sampan.reporting.data import Confusion, History, LabelCount, Predictions, ShownMetric
from sampan.reporting.distributions import (
    LABELS,
    POINTS,
    label_bars,
    prediction_scatter,
    value_histogram,
)
from sampan.reporting.intervals import metric_intervals
from sampan.reporting.lettering import fit, width
from sampan.reporting.svg import Frame, ticks


def elements(svg: Markup, tag: str, class_: str) -> list[ElementTree.Element]:
    return [
        found
        for found in ElementTree.fromstring(str(svg)).iter(tag)
        if class_ in found.get("class", "").split()
    ]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 100), (0.955, 0.994), (-3, 7), (1e-6, 3e-6), (0, 7e9), (1, 30)]
)
def test_ticks_are_few_even_and_within_the_range(low: float, high: float) -> None:
    found = ticks(low, high, most=6)

    steps = np.diff(found)
    assert 2 <= len(found) <= 6
    assert low - 1e-9 * abs(low) <= found[0] and found[-1] <= high * (1 + 1e-9)
    assert np.allclose(steps, steps[0])
    assert re.match("[125]", f"{steps[0]:e}")


def test_a_range_of_one_value_has_one_tick() -> None:
    assert ticks(3, 3) == [3]


def test_a_frame_maps_its_corners_to_its_corners() -> None:
    frame = Frame(x=(0, 10), y=(5, 6), height=200, left=40, right=20, top=30, bottom=50)

    assert (frame.at_x(0), frame.at_x(10)) == (40, 340)
    assert (frame.at_y(5), frame.at_y(6)) == (150, 30)


def test_a_curve_is_broken_where_a_value_is_missing() -> None:
    values = np.array([3.0, 2.0, np.nan, 1.0, 0.5])
    curves = History(
        epoch=np.arange(1, 6), train_loss=values, validation_loss=np.full(5, np.nan), best_epoch=2
    )

    figure = loss_curves(curves)

    assert [
        len(run.get("points", "").split()) for run in elements(figure.svg, "polyline", "train")
    ] == [2, 2]
    assert elements(figure.svg, "polyline", "validation") == []


def test_a_single_epoch_is_a_dot() -> None:
    one = History(
        epoch=np.array([1]),
        train_loss=np.array([1.0]),
        validation_loss=np.array([2.0]),
        best_epoch=1,
    )

    assert len(elements(loss_curves(one).svg, "circle", "dot")) == 2


def test_the_kept_epoch_and_its_loss_are_named_in_the_title() -> None:
    found = history("accuracy")

    assert loss_curves(found).title.startswith("Epoch 22 was kept: validation loss 0.0")
    assert metric_curve(History(**{**vars(found), "metric": None})) is None


def test_an_interval_is_as_wide_as_its_share_of_the_axis() -> None:
    figure = metric_intervals(
        [ShownMetric(name="a→b/recall_at_1", value=0.3, low=0.2, high=0.45, chance=0.01)], 50
    )

    assert figure is not None
    (bar,) = elements(figure.svg, "rect", "interval")
    (dot,) = elements(figure.svg, "circle", "value")
    start, width = float(bar.get("x", "")), float(bar.get("width", ""))
    assert (float(dot.get("cx", "")) - start) / width == pytest.approx((0.3 - 0.2) / 0.25, abs=0.01)
    assert len(elements(figure.svg, "path", "chance")) == 1


def test_an_axis_that_does_not_start_at_zero_says_so() -> None:
    figure = metric_intervals(
        [ShownMetric(name="accuracy", value=0.97, low=0.95, high=0.99, chance=0.1)], 50
    )

    assert figure is not None
    assert "the axis starts at 90 %" in figure.note
    assert "chance lies to the left" in figure.note


def test_metrics_that_are_no_shares_have_no_place_on_a_percent_axis() -> None:
    assert metric_intervals([ShownMetric(name="mae", value=4, low=3, high=5)], 50) is None


def test_confused_pairs_are_the_largest_off_the_diagonal() -> None:
    confusion = Confusion(
        labels=["a", "b", "c"], counts=np.array([[5, 2, 0], [1, 6, 0], [0, 4, 9]])
    )

    assert confused_pairs(confusion) == [("c", "b", 4), ("a", "b", 2), ("b", "a", 1)]


def test_a_confusion_matrix_shades_by_the_share_of_the_true_label() -> None:
    confusion = Confusion(labels=["a", "b"], counts=np.array([[3, 1], [0, 0]]))

    figure = confusion_matrix(confusion)

    shades = [
        c.get("fill-opacity") for c in elements(figure.svg, "rect", "cell") if c.get("fill-opacity")
    ]
    assert shades == [f"{0.1 + 0.9 * 0.75:.2f}", f"{0.1 + 0.9 * 0.25:.2f}"]
    assert figure.title == "3 of 4 on the diagonal; most often a was taken for b (1 time)"


def test_a_matrix_of_many_labels_keeps_its_size_and_leaves_the_numbers_to_the_pointer() -> None:
    labels = [f"a long label {place}" for place in range(60)]

    figure = confusion_matrix(Confusion(labels=labels, counts=np.eye(60, dtype=int)))

    assert "wide" in ElementTree.fromstring(str(figure.svg)).get("class", "")
    assert elements(figure.svg, "text", "count") == []


def test_labels_without_a_bar_of_their_own_are_added_up() -> None:
    labels = [LabelCount(label=str(place), splits={"train": 10}) for place in range(100)]

    figure = label_bars(labels, {"train": 1000}, "label")

    assert figure is not None
    assert len(elements(figure.svg, "rect", "split-1")) == LABELS
    assert f"{100 - LABELS + 1} others" in str(figure.svg)
    assert f">{10 * (100 - LABELS + 1)}<" in str(figure.svg)


def test_a_histogram_counts_finite_values_only() -> None:
    figure = value_histogram(np.array([1.0, 2.0, 3.0, np.nan]), "age")

    assert figure is not None
    assert figure.title == "age: 1.00 to 3.00, half of the samples below 2.00"
    assert value_histogram(np.array([np.nan]), "age") is None


def test_a_scatter_of_many_points_says_how_many_it_draws() -> None:
    true = np.linspace(0, 1, 5 * POINTS)

    figure = prediction_scatter(Predictions(true=true, predicted=true + 0.25))

    assert figure is not None
    assert str(figure.svg).count("h0") == POINTS
    assert "2,000 of 10,000 samples are drawn" in figure.note
    assert "within 0.250 of" in figure.title


def test_a_matrix_of_some_of_the_labels_does_not_pass_for_all_of_them() -> None:
    counts = np.array([[5, 1], [0, 7]])

    figure = confusion_matrix(Confusion(labels=["a", "b"], counts=counts, of=1000))

    assert figure.title == "The 2 labels of 1,000 that are confused most"


def test_labels_of_one_size_have_no_smallest_and_no_largest() -> None:
    labels = [LabelCount(label=name, splits={"train": 3}) for name in "ab"]

    figure = label_bars(labels, {"train": 6}, "label")

    assert figure is not None
    assert figure.title == "2 labels, 3 samples each"
    assert "largest" not in figure.note


WIDE = ["W" * 40, "数字" * 20, "👩🏽‍🏫" * 12, "iiii", "Ärztin für Allgemeinmedizin", "a\u202eb" * 9]


@pytest.mark.parametrize("name", WIDE)
def test_no_label_reaches_beyond_the_left_edge_of_a_plot(name: str) -> None:
    bars = label_bars([LabelCount(label=name, splits={"train": 3})], {"train": 3}, "label")
    matrix = confusion_matrix(Confusion(labels=[name, "b"], counts=np.eye(2, dtype=int)))

    assert bars is not None
    for svg in (bars.svg, matrix.svg):
        texts = [
            text
            for text in ElementTree.fromstring(str(svg)).iter("text")
            if text.get("text-anchor") == "end" and "transform" not in text.attrib
        ]
        assert texts
        assert all(float(text.get("x", "")) >= width(text.text or "") for text in texts)
        assert name[:20] in str(svg) or "\\u202e" in str(svg)  # whole in the tip


def test_numbers_beside_an_axis_have_room() -> None:
    frame = Frame(x=(0, 1), y=(0, 900_000))

    assert frame.left >= width("900,000")


def test_a_text_is_shortened_between_whole_signs() -> None:
    assert fit("👩🏽‍🏫👩🏽‍🏫👩🏽‍🏫", 40) == "👩🏽‍🏫👩🏽‍🏫👩🏽‍🏫"
    assert fit("👩🏽‍🏫👩🏽‍🏫👩🏽‍🏫", 30) == "👩🏽‍🏫…"
    assert fit("short", 100) == "short"
    assert width(fit("x" * 100, 80)) <= 80


def test_a_matrix_of_one_class_is_drawn_at_the_size_of_all_others():
    figures = [
        confusion_matrix(Confusion(labels=labels, counts=np.eye(len(labels), dtype=int)))
        for labels in (["only"], [f"class {number}" for number in range(10)])
    ]

    one, ten = (re.search(r'viewBox="0 0 (\d+)', figure.svg)[1] for figure in figures)

    assert one == ten
