"""What the page says of one dataset: counts, quarantine, splits, labels, examples, features."""

from collections.abc import Collection, Mapping
from pathlib import Path

from sampan.config.names import FeatureName
from sampan.config.root import ModelSettings
from sampan.config.split import SplitSettings
from sampan.dataset.census import Census, take_census
from sampan.dataset.examples import Examples
from sampan.execution.decoding import CUT_BY
from sampan.index.splits import NAMES
from sampan.plan import Plan
from sampan.plugins import ArraySpec
from sampan.reporting.data import (
    DatasetReport,
    FeatureReport,
    LabelCount,
    ModalityReport,
    Reason,
    Rejected,
)
from sampan.reporting.page import LIMITS
from sampan.reporting.wording import in_order
from sampan.storage.parquet import batches
from sampan.store.committed import Committed
from sampan.store.variant import Variant


def dataset_report(plan: Plan, name: str, examples: Examples, results: Path) -> DatasetReport:
    """All committed stages of one dataset; the index is read once, arrays only for examples."""
    settings = plan.config.datasets[name]
    models = {key: model for key, model in plan.config.models.items() if model.dataset == name}
    tasks = {model.task for model in models.values()}
    split, split_of = _split_shown(plan, models, settings.split)
    census = take_census(
        examples.index,
        split,
        labelled=settings.label is not None,
        numeric="regress" in tasks and "classify" not in tasks,
    )
    chosen = examples.samples(
        census.examples(LIMITS["samples"], examples.faults), list(settings.modalities)
    )
    return DatasetReport(
        name=name,
        rows=examples.index.rows,
        capacity=settings.capacity,
        modalities=[_modality(plan, name, each, examples, census) for each in settings.modalities],
        features=[
            _feature(Committed(Variant(results / stage.folder)), feature, examples, census)
            for (dataset, feature), stage in plan.features.items()
            if dataset == name
        ],
        splits={name: census.splits[name] for name in _splits(census)},
        split_of=split_of,
        labels=[
            LabelCount(label=label, splits={s: times[s] for s in _splits(census) if times[s]})
            for label in in_order(census.labels)
            for times in [census.labels[label]]
        ],
        values=census.values,
        label_name=settings.label,
        reasons=census.reasons,
        examples=list(chosen.values()),
    )


def _split_shown(
    plan: Plan, models: Mapping[str, ModelSettings], own: SplitSettings
) -> tuple[SplitSettings, list[str]]:
    """The dataset's own split unless no model uses it: then the first model's, and whose it is."""
    used = {name: plan.split(model) for name, model in models.items()}
    if not used or own in used.values():
        return own, []
    first = next(iter(used.values()))
    return first, [name for name, split in used.items() if split == first]


def _splits(census: Census) -> list[str]:
    return [*NAMES, *(name for name in census.splits if name not in NAMES)]


def _modality(
    plan: Plan, dataset: str, name: str, examples: Examples, census: Census
) -> ModalityReport:
    stage = examples.stages[name]
    settings = plan.config.datasets[dataset].modalities[name].settings
    spec = stage.layout.arrays[stage.layout.main].spec
    stored = name in examples.stored
    notes = dict(sorted(stage.about["notes"].items()))
    absent = stage.about.get("absent", 0)
    return ModalityReport(
        name=name,
        kind=settings["kind"],
        variant=stage.variant.path.name,
        array=row_in_words(spec, settings.get("rate_hz")) if stored else "not stored",
        valid=stage.about["valid"],
        quarantined=stage.rows - stage.about["valid"] - absent,
        absent=absent,
        bytes=stage.about["bytes"] if stored else 0,
        reasons=quarantined(stage, examples, census.refused),
        notes={note: times for note, times in notes.items() if note not in CUT_BY},
        cut_by=cut_in_words(notes),
    )


def cut_in_words(notes: Mapping[str, int]) -> str:
    """`half of them by 30 % or more, 12 by 90 % or more`; empty where it is not known."""
    counts = [notes.get(note, 0) for note in CUT_BY]
    known = sum(counts)
    if not known:
        return ""
    there = [tenth for tenth, times in enumerate(counts) if times]
    least, most = there[0], there[-1]
    if least == most:
        return f"by {_tenths(least)}"
    median = next(i for i in range(len(counts)) if 2 * sum(counts[i + 1 :]) < known)
    half = f"half of them by {_tenths(median)}, " if median < most else ""
    return f"{half}{counts[most]:,} by {_tenths(most)}"


def _tenths(tenth: int) -> str:
    return f"{10 * tenth} % or more" if tenth else "less than 10 %"


def _feature(stage: Committed, name: str, examples: Examples, census: Census) -> FeatureReport:
    modality, encoder = FeatureName.parse(name)
    known = set(census.refused)
    if modality in examples.stored:
        known.add(f"{modality} is not valid")
    else:
        known |= set(examples.stages[modality].about["reasons"])
    spec = stage.layout.arrays[stage.layout.main].spec
    return FeatureReport(
        encoder=encoder,
        modality=modality,
        variant=stage.variant.path.name,
        dimensions=spec.shape[0],
        dtype=spec.dtype,
        rows=stage.rows,
        valid=stage.about["valid"],
        bytes=stage.about["bytes"],
        reasons=quarantined(stage, examples, known),
    )


def row_in_words(spec: ArraySpec, rate_hz: float | None = None) -> str:
    """`32 × 32 × 1 uint8`, `64 bytes uint8`, `4,000 samples float32, 8 kHz`."""
    if spec.dims == ("byte",):
        return f"{spec.shape[0]:,} bytes {spec.dtype}"
    if spec.dims == ("time",) and rate_hz:
        return f"{spec.shape[0]:,} samples {spec.dtype}, {rate_hz / 1000:g} kHz"
    return f"{' × '.join(f'{size:,}' for size in spec.shape) or 'one number'} {spec.dtype}"


def quarantined(stage: Committed, examples: Examples, known: Collection[str]) -> list[Reason]:
    """
    Why rows of a stage are not valid, the most frequent first, with a few of them.

    Reasons in `known` were found further up, and are shown there.
    """
    counts = {
        reason: times for reason, times in stage.about["reasons"].items() if reason not in known
    }
    found: dict[str, list[Rejected]] = {reason: [] for reason in counts}
    ordered = sorted(counts, key=lambda reason: (-counts[reason], reason))
    wanted = set(ordered[: LIMITS["reasons"]]) - {"other reasons"}
    for part in stage.about["parts"]:
        path = stage.variant.quarantine(part["part"])
        if not wanted:
            break
        if part["valid"] == part["rows"] or not path.exists():
            continue
        for batch in batches(path, {"row": "int", "reason": "text"}):
            for line in batch:
                reason, _, detail = line["reason"].partition(": ")
                if reason not in wanted:
                    continue
                key = line.get("key") or examples.cells([line["row"]], ["key"])[line["row"]]["key"]
                cell = line.get("cell") or ""
                found[reason].append(Rejected(key=key or "", cell=cell, detail=detail))
                if len(found[reason]) == LIMITS["rejected"]:
                    wanted.discard(reason)
    return [Reason(reason=name, count=counts[name], examples=found[name]) for name in ordered]
