"""What a config makes: the variants of its stages, the partitions, each job's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sampan import plugins
from sampan.config.load import parse
from sampan.config.names import FeatureName
from sampan.config.root import Config, ModelSettings
from sampan.config.split import SplitSettings
from sampan.errors import ConfigError
from sampan.plan.digests import (
    extract_identity,
    fused_modality,
    index_identity,
    model_identity,
    named,
    preprocess_identity,
)
from sampan.plan.faults import plugin_faults, with_plugin_faults
from sampan.plan.identity import digest_of
from sampan.plan.memory import MODEL_MB, SNAKEMAKE_MB, encoder_mb, modality_mb, samples_mb
from sampan.plan.stages import Stage

PLAN_FILES = 256
"""Files of a scan at most, beside its columns'."""
MOST_THREADS = 4
"""That a job of one partition asks for where the profile does not say."""
ROWS_A_THREAD = 1 << 10
"""Fewer take seconds on one."""
MOST_DIMENSIONS = 1 << 20
"""Of an embedding; longer ones come of a mistake, and no machine holds a batch of them."""


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
                "preprocess", dataset, modality, digest_of(preprocess_identity(entry))
            )
            for dataset, settings in self.config.datasets.items()
            for modality, entry in settings.modalities.items()
            if entry.store
        }

    @cached_property
    def features(self) -> dict[tuple[str, str], Stage]:
        """(dataset, "modality.encoder") → its stage."""
        return {
            (dataset, str(name)): self._feature(dataset, name)
            for dataset, settings in self.config.datasets.items()
            for modality, encoders in settings.features.items()
            for name in (FeatureName(modality, encoder) for encoder in encoders)
        }

    def _feature(self, dataset: str, name: FeatureName) -> Stage:
        above = self.preprocessed.get((dataset, name.modality))
        identity = extract_identity(
            self.config.encoders[name.encoder],
            name.encoder,
            self.config.datasets[dataset].modalities[name.modality],
            above.digest if above else None,
        )
        return Stage("features", dataset, str(name), digest_of(identity))

    def dimensions(self, dataset: str, feature: str) -> int | None:
        """The length of an encoder's embeddings, where its settings tell."""
        modality, name = FeatureName.parse(feature)
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
            name: Stage("models", model.dataset, name, digest_of(self._model(model)))
            for name, model in self.config.models.items()
        }

    def _model(self, model: ModelSettings) -> dict[str, Any]:
        inputs = {name: self.features[model.dataset, name].digest for name in model.inputs}
        return model_identity(
            model, self.config.datasets[model.dataset], inputs, self._split_named(model)
        )

    def stages(self) -> list[Stage]:
        return [*self.preprocessed.values(), *self.features.values(), *self.models.values()]

    def split(self, model: ModelSettings) -> SplitSettings:
        """A model's own split, or its dataset's."""
        return model.split or self.config.datasets[model.dataset].split

    def _split_named(self, model: ModelSettings) -> dict[str, Any]:
        return named(model.split) if model.split else self._splits_named[model.dataset]

    @cached_property
    def _splits_named(self) -> dict[str, dict[str, Any]]:
        return {name: named(found.split) for name, found in self.config.datasets.items()}

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
        return index_identity(dataset, self.config.datasets[dataset])

    @cached_property
    def page(self) -> str:
        """
        The page of this config, relative to the results folder: two configs have two.

        Where the results lie and what they may take at most is no part of its name, nor is what
        stands at its default.
        """
        config = self.config.model_dump(
            mode="json", exclude={"results", "quota"}, exclude_defaults=True
        )
        made = [stage.digest for stage in self.stages()]
        return f"reports/{digest_of([config, made])[:8]}.html"

    def plan_files(self, dataset: str) -> list[str]:
        """The scan's file of each partition; those of neighbours may be one."""
        partitions = self.config.datasets[dataset].partitions
        return [f"{dataset}/index/plan/{plan_file(n, partitions)}" for n in range(partitions)]

    def contents(self, model: str) -> dict[str, Stage]:
        """Modality → the stage that holds the digests of its source bytes, for a model's inputs."""
        settings = self.config.models[model]
        found: dict[str, Stage] = {}
        for feature in settings.inputs:
            modality = FeatureName.parse(feature).modality
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
        return fused_modality(entry, self.config.encoders[settings.features[name][0]].kind)

    def sources(self, dataset: str) -> dict[str, Stage]:
        """Modality → the stage that read its source: its own, or its first encoder's."""
        settings = self.config.datasets[dataset]
        return {
            modality: self.preprocessed.get((dataset, modality))
            or self.features[dataset, f"{modality}.{settings.features[modality][0]}"]
            for modality in settings.modalities
        }

    # What jobs ask for ------------------------------------------------------------------------

    def threads(self, dataset: str, encoder: str | None = None) -> int:
        """
        Of a job of one partition, which preprocesses or runs an encoder: one for each
        `ROWS_A_THREAD`, so that small jobs run side by side; `MOST_THREADS` for an encoder that
        is one process however many there are.
        """
        if encoder is not None:
            entry = self.config.encoders[encoder]
            if plugins.make("encoders", entry.settings, encoder).workers != "processes":
                return MOST_THREADS
        rows = self.config.datasets[dataset].rows_per_job
        return min(MOST_THREADS, max(1, rows // ROWS_A_THREAD))

    def preprocess_mb(self, dataset: str, modality: str, threads: int) -> int:
        entry = self.config.datasets[dataset].modalities[modality]
        plugin = plugins.make("modalities", entry.settings, modality)
        return SNAKEMAKE_MB + modality_mb(plugin, threads)

    def model_mb(self, model: str) -> int:
        """Of a job that trains or evaluates it, with as many rows as its dataset has room for."""
        settings = self.config.models[model]
        rows = self.config.datasets[settings.dataset].capacity
        samples = samples_mb(settings.task, rows, len(self.contents(model)))
        return max(MODEL_MB, samples + MODEL_MB // 4)

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
            fused = fused_modality(source, entry.kind)
        return SNAKEMAKE_MB + encoder_mb(plugin, threads, gpus, fused, stored)


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
