"""
What one part of a config says of another that does not fit it.

Checked on the values as they were read, so that a wrong type elsewhere hides nothing: what is not
of its type is passed over here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

MOST_PARTITIONS = 100_000
"""Partitions are numbered with five digits."""


def reference_faults(values: Mapping[str, Any]) -> list[str]:
    """A line for each fault, of all datasets and models."""
    faults: list[str] = []
    for name, dataset in mapping(values.get("datasets")).items():
        found = _dataset_faults(mapping(dataset), mapping(values.get("encoders")))
        faults += [f"datasets.{name}.{line}" for line in found]
    for name, model in mapping(values.get("models")).items():
        found = _model_faults(mapping(model), mapping(values.get("datasets")))
        faults += [f"models.{name}.{line}" for line in found]
    return faults


def _dataset_faults(dataset: Mapping[str, Any], encoders: Mapping[str, Any]) -> Iterator[str]:
    size, capacity = _count(dataset.get("rows_per_job")), _count(dataset.get("capacity"))
    if size and capacity and -(-capacity // size) > MOST_PARTITIONS:
        yield (
            f"rows_per_job: {size:,} makes {-(-capacity // size):,} partitions of capacity: "
            f"{capacity:,}; at most {MOST_PARTITIONS:,} are allowed"
        )
    modalities, features = mapping(dataset.get("modalities")), mapping(dataset.get("features"))
    for name, entry in modalities.items():
        if fault := _shard_fault(entry, size):
            yield f"modalities.{name}.{fault}"
        if mapping(entry).get("store") is False and not texts(features.get(name)):
            yield (
                f"modalities.{name}: store: false, and no encoder takes it; "
                f"name one in features.{name}, or leave the modality out"
            )
    for name, listed in features.items():
        if name not in modalities:
            yield f"features.{name}: no such modality; there are: {_listed(modalities)}"
        for encoder, times in Counter(texts(listed)).items():
            if times > 1:
                yield f"features.{name}: {encoder} is listed {times} times; once is allowed"
            if encoder not in encoders:
                yield f"features.{name}: no encoder {encoder!r}; there are: {_listed(encoders)}"
            elif fault := _shard_fault(encoders[encoder], size):
                yield f"features.{name}: {encoder}.{fault}"


def _shard_fault(entry: Any, size: int | None) -> str | None:
    rows = _count(mapping(entry).get("rows_per_shard"))
    if not rows or not size or (rows & (rows - 1) == 0 and size % rows == 0):
        return None
    return f"rows_per_shard: {rows:,} is no power of two that divides rows_per_job: {size:,}"


def _model_faults(model: Mapping[str, Any], datasets: Mapping[str, Any]) -> Iterator[str]:
    name = model.get("dataset")
    if not isinstance(name, str):
        return
    if name not in datasets:
        yield f"dataset: no dataset {name!r}; there are: {_listed(datasets)}"
        return
    dataset = mapping(datasets[name])
    features = [
        f"{modality}.{encoder}"
        for modality, encoders in mapping(dataset.get("features")).items()
        for encoder in texts(encoders)
    ]
    for wanted in texts(model.get("inputs")):
        if wanted not in features:
            yield f"inputs: {name} has no features {wanted!r}; there are: {_listed(features)}"
    if model.get("task") in ("classify", "regress") and dataset.get("label") is None:
        yield f"task: {model['task']} needs datasets.{name}.label, which is not set"
    column = mapping(model.get("split")).get("column")
    kept = mapping(dataset.get("split")).get("column")
    if column not in (None, kept):
        yield (
            f"split.column: {column!r} should also be datasets.{name}.split.column, so that the "
            f"index keeps it; found {kept!r} there"
        )


def mapping(value: Any) -> Mapping[str, Any]:
    """The value, or an empty mapping where it is none."""
    return value if isinstance(value, Mapping) else {}


def texts(value: Any) -> list[str]:
    """The texts in a list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) or "none"
