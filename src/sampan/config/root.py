"""The whole config."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from sampan.config.dataset import DatasetSettings, EncoderEntry, Name, Section
from sampan.config.models import (
    AlignSettings,
    ClassifySettings,
    RegressSettings,
    RetrieveSettings,
)

ModelSettings = Annotated[
    ClassifySettings | RegressSettings | AlignSettings | RetrieveSettings,
    Field(discriminator="task"),
]

RESERVED_DATASETS = frozenset({"models", "logs", "benchmarks"})


class Config(Section):
    """What to make: datasets, encoders and models. Machines are described in profiles."""

    results: str = "results"
    """A folder on the shared storage tier; everything that is made lies below it."""
    datasets: Annotated[dict[Name, DatasetSettings], Field(min_length=1)]
    """Named, ordered sets of samples."""
    encoders: dict[Name, EncoderEntry] = Field(default_factory=dict)
    """Named encoders, which `datasets.….features` and `models.….inputs` refer to."""
    models: dict[Name, ModelSettings] = Field(default_factory=dict)
    """Named models to train and evaluate."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        faults = [
            f"datasets.{name}: this name is reserved"
            for name in sorted(RESERVED_DATASETS & set(self.datasets))
        ]
        for name, dataset in self.datasets.items():
            for modality, encoders in dataset.features.items():
                faults += [
                    f"datasets.{name}.features.{modality}: no encoder {encoder!r}; "
                    f"there are: {', '.join(self.encoders) or 'none'}"
                    for encoder in encoders
                    if encoder not in self.encoders
                ]
        for name, model in self.models.items():
            faults += [f"models.{name}: {fault}" for fault in self._model_faults(model)]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _model_faults(self, model: ModelSettings) -> list[str]:
        dataset = self.datasets.get(model.dataset)
        if dataset is None:
            return [f"no dataset {model.dataset!r}; there are: {', '.join(self.datasets)}"]
        features = [f"{m}.{e}" for m, encoders in dataset.features.items() for e in encoders]
        faults = [
            f"inputs: {model.dataset} has no features {name!r}; "
            f"there are: {', '.join(features) or 'none'}"
            for name in model.inputs
            if name not in features
        ]
        if model.task in ("classify", "regress") and dataset.label is None:
            faults.append(f"{model.task} needs datasets.{model.dataset}.label, which is not set")
        if model.split and model.split.column not in (None, dataset.split.column):
            faults.append(
                f"split.column: {model.split.column!r} must also be "
                f"datasets.{model.dataset}.split.column, so that the index keeps it"
            )
        return faults
