"""What decides the names of variants: of a row's way to an array, and of nothing else."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from sampan import plugins
from sampan.config.dataset import DatasetSettings, EncoderEntry, ModalityEntry
from sampan.config.root import ModelSettings


def preprocess_identity(entry: ModalityEntry) -> dict[str, Any]:
    plugin = plugins.make("modalities", entry.settings, entry.kind)
    return {
        "step": "preprocess",
        "revision": plugins.REVISIONS["preprocess"],
        "modality": plugins.identity("modalities", entry.kind, plugin),
        "column": entry.column,
    } | _when_set(
        rows_per_shard=entry.rows_per_shard, cell=None if entry.cell == plugin.cell else entry.cell
    )


def extract_identity(
    entry: EncoderEntry, name: str, source: ModalityEntry, above: str | None
) -> dict[str, Any]:
    """`above` is the digest of the stored modality; None where it is decoded from its source."""
    plugin = plugins.make("encoders", entry.settings, f"encoders.{name}")
    return {
        "step": "extract",
        "revision": plugins.REVISIONS["extract"],
        "encoder": plugins.identity("encoders", entry.kind, plugin),
        "above": above or _fused_identity(source, entry.kind),
    } | _when_set(rows_per_shard=entry.rows_per_shard)


def fused_modality(entry: ModalityEntry, encoder_kind: str) -> Any:
    """A modality as it is planned where an encoder may decide some of its settings."""
    settings = {**plugins.largest_decoding(encoder_kind, entry.kind), **entry.settings}
    return plugins.make("modalities", settings, entry.kind)


def _fused_identity(entry: ModalityEntry, encoder_kind: str) -> dict[str, Any]:
    """How a row becomes an encoder's input, but for what the encoder's digest stands for."""
    plugin = fused_modality(entry, encoder_kind)
    identity = plugins.identity("modalities", entry.kind, plugin)
    decided = plugins.largest_decoding(encoder_kind, entry.kind)
    kept = {name: value for name, value in identity["settings"].items() if name not in decided}
    return {
        "revision": plugins.REVISIONS["preprocess"],
        "modality": identity | {"settings": kept},
        "column": entry.column,
    } | _when_set(cell=None if entry.cell == plugin.cell else entry.cell)


def model_identity(
    model: ModelSettings,
    dataset: DatasetSettings,
    inputs: Mapping[str, str],
    split: Mapping[str, Any],
) -> dict[str, Any]:
    """`inputs` are the digests of its features, `split` what `named` says of the split."""
    columns = dict(dataset.columns)
    if model.task not in ("classify", "regress"):
        columns.pop("label", None)
    settings = {
        name: value for name, value in named(model).items() if name not in ("inputs", "split")
    }
    return {
        "step": "train",
        "revision": plugins.REVISIONS["train"],
        "settings": settings | {"task": model.task},
        "inputs": inputs,
        "columns": columns,
        "split": split,
    }


def index_identity(name: str, settings: DatasetSettings) -> dict[str, Any]:
    """What of a config decides the index, but for the sources' content."""
    sources = [
        [
            entry.model_dump(exclude_defaults=True, include=set(type(entry).model_fields)),
            named(plugins.make("sources", entry.settings, name)),
        ]
        for entry in settings.source
    ]
    return {
        "sources": sources,
        "capacity": settings.capacity,
        "rows_per_job": settings.rows_per_job,
        "on_duplicate": settings.on_duplicate,
        "columns": settings.columns,
        "modalities": {name: entry.column for name, entry in settings.modalities.items()},
    }


def named(settings: Any) -> dict[str, Any]:
    """
    Fields that a name says, as JSON values: those that are not at their default, or at the value
    that their metadata calls `unnamed`.
    """
    plain = asdict(settings)
    return {
        field.name: plain[field.name]
        for field in fields(settings)
        if getattr(settings, field.name) != field.metadata.get("unnamed", plugins.default_of(field))
    }


def _when_set(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
