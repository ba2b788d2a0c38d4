"""The page: one HTML file with everything in it, that fetches nothing and works without scripts."""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sampan import quantities
from sampan.reporting import wording
from sampan.reporting.confusion import confused_pairs, confusion_matrix
from sampan.reporting.curves import loss_curves, metric_curve
from sampan.reporting.data import DatasetReport, Picture, ReportData, Sound
from sampan.reporting.distributions import (
    label_bars,
    prediction_scatter,
    split_class,
    value_histogram,
)
from sampan.reporting.intervals import metric_intervals
from sampan.reporting.players import Players
from sampan.reporting.thumbnails import picture_thumbnail, sound_thumbnail

Shown = TypeVar("Shown")

LIMITS = {
    "samples": 10,
    "reasons": 20,
    "rejected": 3,
    "mistakes": 12,
    "queries": 5,
    "hits": 5,
    "digests": 200,
    "letters": 160,
    "unfinished": 50,
    "why": 600,
    "config": 100_000,
}
"""Examples of a kind on the page at most; whatever is left out is counted."""


def render(report: ReportData) -> str:
    """The page's HTML."""
    page = _environment().get_template("page.html.j2")
    sections = {
        "datasets": [
            (_anchor("dataset", place, d.name), d) for place, d in enumerate(report.datasets, 1)
        ],
        "models": [
            (_anchor("model", place, m.name), m) for place, m in enumerate(report.models, 1)
        ],
    }
    metrics = [metric for model in report.models for metric in model.metrics]
    return page.render(
        report=report,
        valid=_valid_share(report.datasets),
        players=Players(),
        has_exact=any(map(wording.is_exact, metrics)),
        **sections,
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sampan.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=wording.count,
        percent=wording.percent,
        size=quantities.size,
        duration=quantities.duration,
        significant=wording.significant,
        listed=wording.listed,
        shorten=wording.shorten,
        first=_first,
    )
    environment.tests.update(
        picture=lambda media: isinstance(media, Picture),
        sound=lambda media: isinstance(media, Sound),
        exact=wording.is_exact,
    )
    environment.globals.update(
        LIMITS=LIMITS,
        wording=wording,
        picture_thumbnail=picture_thumbnail,
        sound_thumbnail=sound_thumbnail,
        confused_pairs=confused_pairs,
        confusion_matrix=confusion_matrix,
        label_bars=label_bars,
        loss_curves=loss_curves,
        metric_curve=metric_curve,
        metric_intervals=metric_intervals,
        prediction_scatter=prediction_scatter,
        split_class=split_class,
        value_histogram=value_histogram,
    )
    return environment


def _finalize(value: Any) -> Any:
    """Every text that is not markup of ours is made visible; autoescape then escapes it."""
    return (
        wording.visible(value)
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )


def _first(values: Sequence[Shown], kind: str) -> Sequence[Shown]:
    return values[: LIMITS[kind]]


def _anchor(section: str, place: int, name: str) -> str:
    """An id that is unique by its place and readable by its name."""
    words = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{section}-{place}-{words}".rstrip("-")


def _valid_share(datasets: Sequence[DatasetReport]) -> float | None:
    """Valid values of all modalities together, or None where there are no rows."""
    modalities = [modality for dataset in datasets for modality in dataset.modalities]
    total = sum(modality.total for modality in modalities)
    return sum(modality.valid for modality in modalities) / total if total else None
