"""
The settings of each job: what the plan gives to a step, as one JSON on its command line.

A rule's command line names a job's settings, its partition and its files; paths, threads and memory
are flags of their own.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from sampan import plugins
from sampan.config.load import parse_as
from sampan.config.root import ModelSettings
from sampan.config.split import SplitSettings
from sampan.plan.identity import canonical
from sampan.plan.stages import Stage


@dataclass(frozen=True)
class PluginSettings:
    """A plug-in as a config names it: its kind, and its own settings that are not at a default."""

    values: Mapping[str, Any]

    group: ClassVar[plugins.Group]

    @property
    def kind(self) -> str:
        return str(self.values["kind"])

    def __hash__(self) -> int:
        return hash(canonical(self.values))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """As JSON it is its values."""
        return core_schema.no_info_after_validator_function(
            cls,
            core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema()),
        )


class SourceSettings(PluginSettings):
    group = "sources"

    def make(self, where: str) -> plugins.Source:
        return cast(plugins.Source, plugins.make(self.group, self.values, where))


class ModalitySettings(PluginSettings):
    group = "modalities"

    def make(self, where: str = "modality") -> plugins.Modality:
        return cast(plugins.Modality, plugins.make(self.group, self.values, where))


class EncoderSettings(PluginSettings):
    group = "encoders"

    def make(self, where: str = "encoder") -> plugins.Encoder:
        return cast(plugins.Encoder, plugins.make(self.group, self.values, where))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What becomes JSON and comes back from it as what it was."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """`ConfigError` with a line for each setting that does not fit."""
        return parse_as(cls, value)

    def to_json(self) -> dict[str, Any]:
        """Without what stands at its default."""
        return {
            field.name: _plain(getattr(self, field.name))
            for field in fields(self)
            if getattr(self, field.name) != plugins.default_of(field)
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.to_json()
    if isinstance(value, PluginSettings):
        return value.values
    if isinstance(value, Stage):
        return value._asdict()
    if is_dataclass(value) and not isinstance(value, type):
        return _changed(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def changed_settings(settings: Any) -> dict[str, Any]:
    """A settings dataclass of the config as JSON, without what stands at its default."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return {
        field.name: found[field.name]
        for field in fields(settings)
        if field.name == "task" or getattr(settings, field.name) != plugins.default_of(field)
    }


_changed: Callable[[Any], dict[str, Any]] = lru_cache(maxsize=4096)(changed_settings)
"""Thousands of models may share a split that lists thousands of groups."""


@dataclass(frozen=True, kw_only=True)
class PartitionedJob(Settings):
    """One whose dataset is cut into partitions."""

    capacity: int
    rows_per_job: int

    @property
    def partitions(self) -> range:
        """Numbers of the dataset's partitions, with data or without."""
        return range(-(-self.capacity // self.rows_per_job))


# The index ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class IndexJob(PartitionedJob):
    """Which columns of the sources the index holds."""

    dataset: str
    columns: Mapping[str, str]
    """Index column → the sources' column."""
    modalities: Mapping[str, str]
    """Modality → the sources' column with its cells."""


@dataclass(frozen=True, kw_only=True)
class SourceEntry(Settings):
    """One entry of a dataset's list of sources."""

    source: SourceSettings
    version: int = 0
    allow: tuple[str, ...] = ()
    """Folders beside its root in which its files may lie."""


@dataclass(frozen=True, kw_only=True)
class ScanJob(IndexJob):
    """Where the samples are."""

    sources: tuple[SourceEntry, ...]
    on_duplicate: Literal["error", "quarantine", "trust"]
    columns_file: str
    """Written when all is found, relative to the results folder."""

    def source(self, number: int) -> plugins.Source:
        return self.sources[number].source.make(f"datasets.{self.dataset}.source.{number}")


@dataclass(frozen=True, kw_only=True)
class CommitIndexJob(IndexJob):
    """What is said of the whole index."""

    split: SplitSettings
    split_file: str


# Stages of arrays ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StageJob(PartitionedJob):
    """A stage whose arrays are made of one modality."""

    stage: Stage
    max_invalid: float


@dataclass(frozen=True, kw_only=True)
class ShardsJob(StageJob):
    """A stage that is made a shard at a time."""

    modality: ModalitySettings
    cell: Literal["path", "value", "base64"] | None = None
    """What a table's cell holds; None where it is not read here, or the modality says it."""
    rows_per_shard: int | None = None
    """None leaves it to the layout."""

    @property
    def reads_source(self) -> bool:
        """Whether samples are decoded from their sources here."""
        return True


@dataclass(frozen=True, kw_only=True)
class PreprocessJob(ShardsJob):
    """How a modality is decoded."""


@dataclass(frozen=True, kw_only=True)
class ExtractJob(ShardsJob):
    """How a modality is encoded."""

    encoder: EncoderSettings
    device: Literal["auto", "cpu", "cuda"]
    above: Stage | None = None
    """The stage whose rows are encoded; None where the modality is not stored."""

    @property
    def reads_source(self) -> bool:
        return self.above is None


@dataclass(frozen=True, kw_only=True)
class MadeWith(Settings):
    """The plug-ins behind a stage, for people and for `sampan ls`."""

    modality: ModalitySettings
    encoder: EncoderSettings | None = None
    store: bool = True


@dataclass(frozen=True, kw_only=True)
class CommitJob(StageJob):
    """What is said of a whole stage."""

    made_with: MadeWith
    above: Stage | None = None


# Models -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TrainJob(Settings):
    """What a model is made from; training and evaluation get the same."""

    stage: Stage
    settings: ModelSettings
    split: SplitSettings
    columns: Mapping[str, str]
    features: Mapping[str, Stage]
    """Input → the stage of its embeddings."""
    modalities: Mapping[str, Stage]
    """Modality → the stage that holds the digests of its source bytes."""


@dataclass(frozen=True, kw_only=True)
class ReportJob(Settings):
    """The config whose results are shown, as it was written."""

    config: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DoctorJob(Settings):
    """What is tried in a job of a rule."""

    rule: str
    encoders: Mapping[str, EncoderSettings]
