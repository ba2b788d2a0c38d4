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
from sampan.config.dataset import DatasetSettings, ModalityEntry
from sampan.config.load import parse
from sampan.config.root import Config, ModelSettings
from sampan.config.split import SplitSettings
from sampan.errors import ConfigError
from sampan.memory import SNAKEMAKE_MB, encoder_mb, modality_mb
from sampan.refusals import plugin_faults, with_plugin_faults

PLAN_FILES = 256
"""Files of a scan at most, beside its columns'."""
MOST_DIMENSIONS = 1 << 20
"""Of an embedding; longer ones come of a mistake, and no machine holds a batch of them."""


def canonical(value: Any) -> str:
    """JSON that is equal for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def plan_file(part: int, partitions: int) -> str:
    """
    The file, in `index/plan`, that says where a partition starts.

    Beyond 256 partitions several share one, since Snakemake compares every file of the scan with
    what each index job asks for. The name says which: more partitions are another file.
    """
    sharing = -(-partitions // PLAN_FILES)
    first = part - part % sharing
    last = min(first + sharing, partitions) - 1
    return f"part-{first:05d}.json" if first == last else f"parts-{first:05d}-{last:05d}.json"


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
        faults += self._long_embeddings()
        for name, model in self.config.models.items():
            if model.task == "retrieve":
                known = {input: self.dimensions(model.dataset, input) for input in model.inputs}
                faults += unlike(name, known)
        if faults:
            raise ConfigError(faults)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Plan":
        """The plan of a config as it was read; all its faults, and its plug-ins', at once."""
        try:
            config = parse(values)
        except ConfigError as fault:
            raise ConfigError(with_plugin_faults(fault.faults, values)) from None
        return cls(config)

    # Names ------------------------------------------------------------------------------------

    @property
    def results(self) -> Path:
        return Path(self.config.results)

    def parts(self, dataset: str) -> list[str]:
        return [f"{part:05d}" for part in range(self.config.datasets[dataset].partitions)]

    @cached_property
    def preprocessed(self) -> dict[tuple[str, str], Stage]:
        """(dataset, modality) → its stage, of those that are stored."""
        return {
            (dataset, modality): Stage(
                "preprocess", dataset, modality, digest_of(_preprocess_identity(entry))
            )
            for dataset, settings in self.config.datasets.items()
            for modality, entry in settings.modalities.items()
            if entry.store
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

    def dimensions(self, dataset: str, feature: str) -> int | None:
        """The length of an encoder's embeddings, where its settings tell."""
        modality, _, name = feature.partition(".")
        settings = self.config.datasets[dataset].modalities[modality]
        encoder = plugins.make("encoders", self.config.encoders[name].settings, name)
        if not settings.store or not isinstance(encoder, plugins.KnowsDimensions):
            return None
        return encoder.dimensions_for(self.modality(dataset, modality))

    def _long_embeddings(self) -> list[str]:
        found = {name: self.dimensions(*name) or 0 for name in self.features}
        return [
            f"datasets.{dataset}.features.{feature.replace('.', ': ')} makes embeddings of "
            f"{length:,} values; at most {MOST_DIMENSIONS:,} are allowed"
            for (dataset, feature), length in found.items()
            if length > MOST_DIMENSIONS
        ]

    def encoders(self, *, gpu: bool) -> list[str]:
        """Names of the encoders that may be granted a GPU, or of all others."""
        return [
            name
            for name, entry in self.config.encoders.items()
            if gpu
            == (
                entry.device != "cpu"
                and "cuda" in plugins.plugin_class("encoders", entry.kind).devices
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
        above = self.preprocessed.get((dataset, modality))
        source = self.config.datasets[dataset].modalities[modality]
        return {
            "step": "extract",
            "revision": plugins.REVISIONS["extract"],
            "encoder": plugins.identity("encoders", entry.kind, plugin),
            "above": above.digest if above else _fused_identity(source, entry.kind),
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
                for name, value in _named(model).items()
                if name not in ("inputs", "split")
            }
            | {"task": model.task},
            "inputs": {name: self.features[model.dataset, name].digest for name in model.inputs},
            "columns": columns,
            "split": self._split_named(model),
        }

    def split(self, model: ModelSettings) -> SplitSettings:
        """A model's own split, or its dataset's."""
        return model.split or self.config.datasets[model.dataset].split

    def _split_named(self, model: ModelSettings) -> dict[str, Any]:
        return _named(model.split) if model.split else self._splits_named[model.dataset]

    @cached_property
    def _splits_named(self) -> dict[str, dict[str, Any]]:
        return {name: _named(found.split) for name, found in self.config.datasets.items()}

    def _split_said(self, model: ModelSettings) -> dict[str, Any]:
        """Thousands of models may share a dataset's split, which may list thousands of groups."""
        return _settings(model.split) if model.split else self._splits[model.dataset]

    @cached_property
    def _splits(self) -> dict[str, dict[str, Any]]:
        return {name: _settings(found.split) for name, found in self.config.datasets.items()}

    def columns_file(self, dataset: str) -> str:
        """
        There while the index is that of these columns, sources and partitions, whose digest its
        name bears; relative to the results folder.

        Whoever makes the index with others removes it, so that it is made again when it is asked
        for again.
        """
        return f"{dataset}/index/columns@{digest_of(self._index_identity(dataset))[:8]}.json"

    def split_file(self, dataset: str) -> str:
        """The same of `index/dataset.json`, which says the dataset's split too."""
        wanted = [self._index_identity(dataset), self._splits_named[dataset]]
        return f"{dataset}/index/split@{digest_of(wanted)[:8]}.json"

    def _index_identity(self, dataset: str) -> dict[str, Any]:
        """What of a config decides the index, but for the sources' content."""
        settings = self.config.datasets[dataset]
        sources = [
            [
                entry.model_dump(exclude_defaults=True, include=set(type(entry).model_fields)),
                _named(plugins.make("sources", entry.settings, dataset)),
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

    @cached_property
    def page(self) -> str:
        """
        The page of this config, relative to the results folder: two configs have two.

        Where the results lie and what they may take at most is no part of its name.
        """
        config = self.config.model_dump(mode="json", exclude={"results", "quota"})
        made = [stage.digest for stage in self.stages()]
        return f"reports/{digest_of([config, made])[:8]}.html"

    def plan_files(self, dataset: str) -> list[str]:
        """The scan's file of each partition; those of neighbours may be one."""
        partitions = self.config.datasets[dataset].partitions
        return [f"{dataset}/index/plan/{plan_file(n, partitions)}" for n in range(partitions)]

    # Settings of the jobs ---------------------------------------------------------------------

    def scan_spec(self, dataset: str) -> dict[str, Any]:
        settings = self.config.datasets[dataset]
        return {
            "dataset": dataset,
            "sources": [source.settings for source in settings.source],
            "versions": [source.version for source in settings.source],
            **({"allow": allow} if (allow := _allowed(settings)) else {}),
            "capacity": settings.capacity,
            "rows_per_job": settings.rows_per_job,
            "on_duplicate": settings.on_duplicate,
            "columns": settings.columns,
            "modalities": {name: entry.column for name, entry in settings.modalities.items()},
            "columns_file": self.columns_file(dataset),
        }

    def index_spec(self, dataset: str) -> dict[str, Any]:
        spec = self.scan_spec(dataset)
        wanted = ("dataset", "capacity", "rows_per_job", "columns", "modalities")
        return {key: spec[key] for key in wanted}

    def commit_index_spec(self, dataset: str) -> dict[str, Any]:
        return self.index_spec(dataset) | {
            "split": self._splits[dataset],
            "split_file": self.split_file(dataset),
        }

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
        """Where it has no `above`, the modality is not stored: it is decoded from the source."""
        settings = self.config.datasets[dataset]
        modality, encoder = feature.split(".")
        entry, source = self.config.encoders[encoder], settings.modalities[modality]
        above = self.preprocessed.get((dataset, modality))
        return {
            "stage": self.features[dataset, feature]._asdict(),
            **({"above": above._asdict()} if above else {"cell": source.cell}),
            "modality": source.settings,
            "encoder": entry.settings,
            "device": entry.device,
            "rows_per_job": settings.rows_per_job,
            "capacity": settings.capacity,
            "max_invalid": source.max_invalid,
        } | _when_set(rows_per_shard=entry.rows_per_shard)

    def commit_spec(self, stage: Stage) -> dict[str, Any]:
        """What a stage was made with, for people and for `sampan ls`, and how many partitions."""
        settings = self.config.datasets[stage.dataset]
        modality, _, encoder = stage.name.partition(".")
        entry = settings.modalities[modality]
        made_with: dict[str, Any] = {"modality": entry.settings}
        if encoder:
            made_with["encoder"] = self.config.encoders[encoder].settings
        if not entry.store:
            made_with["store"] = False
        above = self.preprocessed.get((stage.dataset, modality)) if encoder else None
        return {
            "stage": stage._asdict(),
            **({"above": above._asdict()} if above else {}),
            "made_with": made_with,
            "rows_per_job": settings.rows_per_job,
            "capacity": settings.capacity,
            "max_invalid": entry.max_invalid,
        }

    def train_spec(self, name: str) -> dict[str, Any]:
        model = self.config.models[name]
        return {
            "stage": self.models[name]._asdict(),
            "settings": _settings(model),
            "split": self._split_said(model),
            "columns": self.config.datasets[model.dataset].columns,
            "features": {
                feature: self.features[model.dataset, feature]._asdict() for feature in model.inputs
            },
            "modalities": {
                modality: stage._asdict() for modality, stage in self.contents(name).items()
            },
        }

    def contents(self, model: str) -> dict[str, Stage]:
        """Modality → the stage that holds the digests of its source bytes, for a model's inputs."""
        settings = self.config.models[model]
        found: dict[str, Stage] = {}
        for feature in settings.inputs:
            modality = feature.partition(".")[0]
            stored = self.preprocessed.get((settings.dataset, modality))
            found.setdefault(modality, stored or self.features[settings.dataset, feature])
        return found

    def modality(self, dataset: str, name: str) -> Any:
        """
        A modality's plug-in; where it is not stored, at the largest values of what its first
        encoder decides.
        """
        settings = self.config.datasets[dataset]
        entry = settings.modalities[name]
        if entry.store:
            return plugins.make("modalities", entry.settings, name)
        return _fused(entry, self.config.encoders[settings.features[name][0]].kind)

    def sources(self, dataset: str) -> dict[str, Stage]:
        """Modality → the stage that read its source: its own, or its first encoder's."""
        settings = self.config.datasets[dataset]
        return {
            modality: self.preprocessed.get((dataset, modality))
            or self.features[dataset, f"{modality}.{settings.features[modality][0]}"]
            for modality in settings.modalities
        }

    # Memory -----------------------------------------------------------------------------------

    def preprocess_mb(self, dataset: str, modality: str, threads: int) -> int:
        entry = self.config.datasets[dataset].modalities[modality]
        plugin = plugins.make("modalities", entry.settings, modality)
        return SNAKEMAKE_MB + modality_mb(plugin, threads)

    def extract_mb(
        self, encoder: str, threads: int, gpus: int = 0, *, of: tuple[str, str] | None = None
    ) -> int:
        """`of` is the dataset and the modality, whose rows count where they are long."""
        entry = self.config.encoders[encoder]
        plugin = plugins.make("encoders", entry.settings, encoder)
        source = self.config.datasets[of[0]].modalities[of[1]] if of else None
        fused = stored = None
        if source is not None and source.store:
            stored = plugins.make("modalities", source.settings, source.kind)
        elif source is not None:
            fused = _fused(source, entry.kind)
        return SNAKEMAKE_MB + encoder_mb(plugin, threads, gpus, fused, stored)


def _allowed(settings: DatasetSettings) -> dict[str, list[str]]:
    """Number of a source → the folders beside its root in which its files may lie."""
    return {str(i): source.allow for i, source in enumerate(settings.source) if source.allow}


def unlike(model: str, lengths: Mapping[str, int | None]) -> list[str]:
    """A line where features that a model compares are of different lengths; None is not known."""
    known = {feature: length for feature, length in lengths.items() if length is not None}
    if len(set(known.values())) < 2:
        return []
    listed = ", ".join(f"{feature} {length:,}" for feature, length in known.items())
    return [
        f"models.{model}.inputs: features of different lengths cannot be compared: {listed}; take "
        "encoders that share a space, or task: align"
    ]


def _fused(entry: ModalityEntry, encoder_kind: str) -> Any:
    """A modality as it is planned where an encoder may decide some of its settings."""
    settings = {**plugins.largest_decoding(encoder_kind, entry.kind), **entry.settings}
    return plugins.make("modalities", settings, entry.kind)


def _fused_identity(entry: ModalityEntry, encoder_kind: str) -> dict[str, Any]:
    """How a row becomes an encoder's input, but for what the encoder's digest stands for."""
    plugin = _fused(entry, encoder_kind)
    identity = plugins.identity("modalities", entry.kind, plugin)
    decided = plugins.largest_decoding(encoder_kind, entry.kind)
    kept = {name: value for name, value in identity["settings"].items() if name not in decided}
    return {
        "revision": plugins.REVISIONS["preprocess"],
        "modality": identity | {"settings": kept},
        "column": entry.column,
    } | _when_set(cell=None if entry.cell == plugin.cell else entry.cell)


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
    return {
        field.name: found[field.name]
        for field in fields(settings)
        if field.name == "task" or getattr(settings, field.name) != plugins.default_of(field)
    }


def _named(settings: Any) -> dict[str, Any]:
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
