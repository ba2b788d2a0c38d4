"""The whole config."""

from typing import Annotated

from pydantic import Field, StringConstraints

from sampan.config.dataset import DatasetSettings, EncoderEntry, Name, Section, not_one_of
from sampan.config.models import (
    AlignSettings,
    ClassifySettings,
    RegressSettings,
    RetrieveSettings,
)
from sampan.config.quota import QuotaSettings

ModelSettings = Annotated[
    ClassifySettings | RegressSettings | AlignSettings | RetrieveSettings,
    Field(discriminator="task"),
]

DatasetName = Annotated[Name, not_one_of("benchmarks", "logs", "models")]
EncoderName = Annotated[Name, not_one_of("digest", "embedding", "length", "sample", "valid")]


class Config(Section):
    """What to make: datasets, encoders and models. Machines are described in profiles."""

    results: Annotated[str, StringConstraints(pattern=r"^[^{}]*$")] = "results"
    """A folder on the shared storage tier, without braces; all that is made lies below it."""
    datasets: Annotated[dict[DatasetName, DatasetSettings], Field(min_length=1)]
    """Named, ordered sets of samples."""
    encoders: dict[EncoderName, EncoderEntry] = Field(default_factory=dict)
    """Named encoders, which `datasets.….features` and `models.….inputs` refer to."""
    models: dict[Name, ModelSettings] = Field(default_factory=dict)
    """Named models to train and evaluate."""
    quota: QuotaSettings = QuotaSettings()
    """What a plan may take at most; `sampan estimate` checks it, and no name depends on it."""
