"""
What a config makes: variants, partitions, and the settings that each job gets.

A pure function of the config, for rules and steps alike: it touches no data, and no array library
is imported here, since the Snakefile is read again in every cluster job.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from sampan import plugins
from sampan.config.dataset import ModalityEntry
from sampan.config.load import parse
from sampan.config.root import Config, ModelSettings
from sampan.config.split import SplitSettings
from sampan.errors import ConfigError
from sampan.refusals import plugin_faults

MASTER_MB = 400
"""A step's own process: Python, Arrow, the Dask scheduler."""
WORKER_MB = 350
"""A worker process before it does anything: Python, Dask, and torch or the decoders."""

SNAKEMAKE_MB = 400
"""The two Snakemakes around the step in a Slurm job; it counts where a job's memory is limited."""


def canonical(value: Any) -> str:
    """JSON that is equal for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


class Stage(NamedTuple):
    """One variant of a stage's output: what it is called, and the digest of what decides it."""

    kind: str
    dataset: str
    name: str
    digest: str

    @property
    def variant(self) -> str:
        return f"{self.name}@{self.digest[:8]}"

    @property
    def folder(self) -> str:
        """Relative to the results folder."""
        owner = () if self.kind == "models" else (self.dataset,)
        return "/".join((*owner, self.kind, self.variant))


@dataclass(frozen=True)
class Plan:
    """All stages of a config; raises one `ConfigError` with every plug-in's faults."""

    config: Config

    def __post_init__(self) -> None:
        if faults := plugin_faults(self.config.model_dump()):
            raise ConfigError(faults)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Plan":
        """The plan of a config as it was read; all its faults, and its plug-ins', at once."""
        try:
            config = parse(values)
        except ConfigError as fault:
            raise ConfigError([*fault.faults, *plugin_faults(values)]) from None
        return cls(config)

    # Names ------------------------------------------------------------------------------------

    @property
    def results(self) -> Path:
        return Path(self.config.results)

    def parts(self, dataset: str) -> list[str]:
        return [f"{part:05d}" for part in range(self.config.datasets[dataset].partitions)]

    @cached_property
    def preprocessed(self) -> dict[tuple[str, str], Stage]:
        """(dataset, modality) → its stage."""
        return {
            (dataset, modality): Stage(
                "preprocess", dataset, modality, digest_of(_preprocess_identity(entry))
            )
            for dataset, settings in self.config.datasets.items()
            for modality, entry in settings.modalities.items()
        }

    @cached_property
    def features(self) -> dict[tuple[str, str], Stage]:
        """(dataset, "modality.encoder") → its stage."""
        return {
            (dataset, f"{modality}.{encoder}"): Stage(
                "features",
                dataset,
                f"{modality}.{encoder}",
                digest_of(self._extract_identity(dataset, modality, encoder)),
            )
            for dataset, settings in self.config.datasets.items()
            for modality, encoders in settings.features.items()
            for encoder in encoders
        }

    def encoders(self, *, gpu: bool) -> list[str]:
        """Names of the encoders that a GPU makes fast, or of all others."""
        return [
            name
            for name, entry in self.config.encoders.items()
            if gpu
            == (
                entry.device != "cpu"
                and plugins.plugin_class("encoders", entry.kind).workers == "one"
            )
        ]

    @cached_property
    def models(self) -> dict[str, Stage]:
        return {
            name: Stage("models", model.dataset, name, digest_of(self._model_identity(model)))
            for name, model in self.config.models.items()
        }

    def stages(self) -> list[Stage]:
        return [*self.preprocessed.values(), *self.features.values(), *self.models.values()]

    def _extract_identity(self, dataset: str, modality: str, encoder: str) -> dict[str, Any]:
        entry = self.config.encoders[encoder]
        plugin = plugins.make("encoders", entry.settings, f"encoders.{encoder}")
        return {
            "step": "extract",
            "revision": plugins.REVISIONS["extract"],
            "encoder": plugins.identity("encoders", entry.kind, plugin),
            "above": self.preprocessed[dataset, modality].digest,
        } | _when_set(rows_per_shard=entry.rows_per_shard)

    def _model_identity(self, model: ModelSettings) -> dict[str, Any]:
        columns = dict(self.config.datasets[model.dataset].columns)
        if model.task not in ("classify", "regress"):
            columns.pop("label", None)
        return {
            "step": "train",
            "revision": plugins.REVISIONS["train"],
            "settings": {
                name: value
                for name, value in _changed(model).items()
                if name not in ("inputs", "split")
            }
            | {"task": model.task},
            "inputs": {name: self.features[model.dataset, name].digest for name in model.inputs},
            "columns": columns,
            "split": _changed(self.split(model)),
        }

    def split(self, model: ModelSettings) -> SplitSettings:
        """A model's own split, or its dataset's."""
        return model.split or self.config.datasets[model.dataset].split

    def columns_file(self, dataset: str) -> str:
        """
        Says which source columns the index holds, in its name; relative to the results folder.

        The index is made again where the config asks for other columns.
        """
        settings = self.config.datasets[dataset]
        wanted = [settings.columns, {name: e.column for name, e in settings.modalities.items()}]
        return f"{dataset}/index/columns@{digest_of(wanted)[:8]}.json"

    # Settings of the jobs ---------------------------------------------------------------------

    def scan_spec(self, dataset: str) -> dict[str, Any]:
        settings = self.config.datasets[dataset]
        return {
            "dataset": dataset,
            "sources": [source.settings for source in settings.source],
            "versions": [source.version for source in settings.source],
            "capacity": settings.capacity,
            "rows_per_job": settings.rows_per_job,
            "on_duplicate": settings.on_duplicate,
            "columns": settings.columns,
            "modalities": {name: entry.column for name, entry in settings.modalities.items()},
            "split": _settings(settings.split),
            "columns_file": self.columns_file(dataset),
        }

    def index_spec(self, dataset: str) -> dict[str, Any]:
        spec = self.scan_spec(dataset)
        return {key: spec[key] for key in ("dataset", "columns", "modalities")}

    def preprocess_spec(self, dataset: str, modality: str) -> dict[str, Any]:
        settings = self.config.datasets[dataset]
        entry = settings.modalities[modality]
        return {
            "stage": self.preprocessed[dataset, modality]._asdict(),
            "modality": entry.settings,
            "cell": entry.cell,
            "rows_per_job": settings.rows_per_job,
            "capacity": settings.capacity,
            "max_invalid": entry.max_invalid,
        } | _when_set(rows_per_shard=entry.rows_per_shard)

    def extract_spec(self, dataset: str, feature: str) -> dict[str, Any]:
        settings = self.config.datasets[dataset]
        modality, encoder = feature.split(".")
        entry = self.config.encoders[encoder]
        return {
            "stage": self.features[dataset, feature]._asdict(),
            "above": self.preprocessed[dataset, modality]._asdict(),
            "modality": settings.modalities[modality].settings,
            "encoder": entry.settings,
            "device": entry.device,
            "rows_per_job": settings.rows_per_job,
            "capacity": settings.capacity,
            "max_invalid": settings.modalities[modality].max_invalid,
        } | _when_set(rows_per_shard=entry.rows_per_shard)

    def commit_spec(self, stage: Stage) -> dict[str, Any]:
        """What a stage was made with, for people and for `sampan ls`, and how many partitions."""
        settings = self.config.datasets[stage.dataset]
        modality, _, encoder = stage.name.partition(".")
        entry = settings.modalities[modality]
        made_with: dict[str, Any] = {"modality": entry.settings}
        if encoder:
            made_with["encoder"] = self.config.encoders[encoder].settings
        return {
            "stage": stage._asdict(),
            "made_with": made_with,
            "rows_per_job": settings.rows_per_job,
            "capacity": settings.capacity,
            "max_invalid": entry.max_invalid,
        }

    def train_spec(self, name: str) -> dict[str, Any]:
        model = self.config.models[name]
        modalities = dict.fromkeys(feature.partition(".")[0] for feature in model.inputs)
        return {
            "stage": self.models[name]._asdict(),
            "settings": _settings(model),
            "split": _settings(self.split(model)),
            "columns": self.config.datasets[model.dataset].columns,
            "features": {
                feature: self.features[model.dataset, feature]._asdict() for feature in model.inputs
            },
            "modalities": {
                modality: self.preprocessed[model.dataset, modality]._asdict()
                for modality in modalities
            },
        }

    # Memory -----------------------------------------------------------------------------------

    def preprocess_mb(self, dataset: str, modality: str, threads: int) -> int:
        entry = self.config.datasets[dataset].modalities[modality]
        plugin = plugins.make("modalities", entry.settings, modality)
        return SNAKEMAKE_MB + modality_mb(plugin, threads)

    def extract_mb(self, encoder: str, threads: int, gpus: int = 0) -> int:
        entry = self.config.encoders[encoder]
        plugin = plugins.make("encoders", entry.settings, encoder)
        return SNAKEMAKE_MB + encoder_mb(plugin, threads, gpus)


def modality_mb(plugin: plugins.Modality, threads: int) -> int:
    """Memory that a preprocess job needs, in MB: its own process, and workers that decode."""
    work = plugin.memory_bytes() + plugin.max_bytes
    base = WORKER_MB if plugin.workers == "processes" else 0
    return MASTER_MB + threads * (base + -(-work // 2**20))


def encoder_mb(plugin: plugins.Encoder, threads: int, gpus: int = 0) -> int:
    """Memory that an extract job needs, in MB: its own process, and workers that encode."""
    workers = threads if plugin.workers == "processes" else max(1, gpus)
    return MASTER_MB + workers * (WORKER_MB + -(-plugin.memory_bytes() // 2**20))


def _preprocess_identity(entry: ModalityEntry) -> dict[str, Any]:
    plugin = plugins.make("modalities", entry.settings, entry.kind)
    return {
        "step": "preprocess",
        "revision": plugins.REVISIONS["preprocess"],
        "modality": plugins.identity("modalities", entry.kind, plugin),
        "column": entry.column,
    } | _when_set(
        rows_per_shard=entry.rows_per_shard, cell=None if entry.cell == plugin.cell else entry.cell
    )


def _when_set(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _settings(settings: Any) -> dict[str, Any]:
    """A settings dataclass as JSON, without what stands at its default."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    kept = _changed(settings).keys() | ({"task"} & found.keys())
    return {name: value for name, value in found.items() if name in kept}


def _changed(settings: Any) -> dict[str, Any]:
    """Fields that are not at their default, as JSON values."""
    plain = asdict(settings)
    return {
        field.name: plain[field.name]
        for field in fields(settings)
        if getattr(settings, field.name) != plugins.default_of(field)
    }
