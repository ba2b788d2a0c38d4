"""The settings that a plan gives to each of its jobs."""

from typing import Any

from sampan.plan.jobs import (
    CommitIndexJob,
    CommitJob,
    EncoderSettings,
    ExtractJob,
    IndexJob,
    MadeWith,
    ModalitySettings,
    PreprocessJob,
    ScanJob,
    SourceEntry,
    SourceSettings,
    TrainJob,
)
from sampan.plan.stages import Stage
from sampan.plan.variants import Plan


class Jobs:
    """A plan's jobs, by what they make."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._config = plan.config

    def scan(self, dataset: str) -> ScanJob:
        settings = self._config.datasets[dataset]
        return ScanJob(
            **self._columns(dataset),
            sources=tuple(
                SourceEntry(
                    source=SourceSettings(entry.settings),
                    version=entry.version,
                    allow=tuple(entry.allow),
                )
                for entry in settings.source
            ),
            on_duplicate=settings.on_duplicate,
            columns_file=self._plan.columns_file(dataset),
        )

    def index(self, dataset: str) -> IndexJob:
        return IndexJob(**self._columns(dataset))

    def commit_index(self, dataset: str) -> CommitIndexJob:
        return CommitIndexJob(
            **self._columns(dataset),
            split=self._config.datasets[dataset].split,
            split_file=self._plan.split_file(dataset),
        )

    def preprocess(self, dataset: str, modality: str) -> PreprocessJob:
        entry = self._config.datasets[dataset].modalities[modality]
        return PreprocessJob(
            **self._stage(self._plan.preprocessed[dataset, modality]),
            modality=ModalitySettings(entry.settings),
            cell=entry.cell,
            rows_per_shard=entry.rows_per_shard,
        )

    def extract(self, dataset: str, feature: str) -> ExtractJob:
        stage = self._plan.features[dataset, feature]
        entry = self._config.encoders[stage.encoder]
        modality = self._config.datasets[dataset].modalities[stage.modality]
        above = self._above(stage)
        return ExtractJob(
            **self._stage(stage),
            modality=ModalitySettings(modality.settings),
            cell=None if above else modality.cell,
            encoder=EncoderSettings(entry.settings),
            device=entry.device,
            above=above,
            rows_per_shard=entry.rows_per_shard,
        )

    def commit(self, stage: Stage) -> CommitJob:
        entry = self._config.datasets[stage.dataset].modalities[stage.modality]
        encoder = self._config.encoders[stage.encoder].settings if stage.encoder else None
        return CommitJob(
            **self._stage(stage),
            above=self._above(stage) if stage.encoder else None,
            made_with=MadeWith(
                modality=ModalitySettings(entry.settings),
                encoder=EncoderSettings(encoder) if encoder else None,
                store=entry.store,
            ),
        )

    def train(self, name: str) -> TrainJob:
        model, plan = self._config.models[name], self._plan
        return TrainJob(
            stage=plan.models[name],
            settings=model,
            split=plan.split(model),
            columns=self._config.datasets[model.dataset].columns,
            features={feature: plan.features[model.dataset, feature] for feature in model.inputs},
            modalities=plan.contents(name),
        )

    def _columns(self, dataset: str) -> dict[str, Any]:
        settings = self._config.datasets[dataset]
        return {
            "dataset": dataset,
            "capacity": settings.capacity,
            "rows_per_job": settings.rows_per_job,
            "columns": settings.columns,
            "modalities": {name: entry.column for name, entry in settings.modalities.items()},
        }

    def _stage(self, stage: Stage) -> dict[str, Any]:
        settings = self._config.datasets[stage.dataset]
        return {
            "stage": stage,
            "capacity": settings.capacity,
            "rows_per_job": settings.rows_per_job,
            "max_invalid": settings.modalities[stage.modality].max_invalid,
        }

    def _above(self, stage: Stage) -> Stage | None:
        return self._plan.preprocessed.get((stage.dataset, stage.modality))
