"""The `datasets` section."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from sampan.config.split import SplitSettings

NAME = r"^[a-z][a-z0-9-]*$"
Name = Annotated[str, StringConstraints(pattern=NAME)]


def not_one_of(*reserved: str) -> AfterValidator:
    """Refuse names that mean something else in a results folder."""

    def check(name: str) -> str:
        if name in reserved:
            raise ValueError(f"this name is reserved; so are: {', '.join(sorted(reserved))}")
        return name

    return AfterValidator(check)


ModalityName = Annotated[
    Name,
    not_one_of(
        "columns", "digest", "group", "key", "label", "length", "reason", "root", "sample", "split",
        "valid",
    ),
]  # fmt: skip


def _check_rows_per_job(rows: int) -> int:
    if rows % 64 and rows not in (8, 16, 32):
        raise ValueError(f"{rows:,} is no multiple of 64 rows; set {-(-rows // 64) * 64}")
    return rows


class Section(BaseModel):
    """Base of the typed settings: frozen, unknown keys refused, docstrings in the schema."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SourceEntry(Section):
    """Where samples come from: a `kind` of source and its settings."""

    model_config = ConfigDict(extra="allow")

    kind: str
    """Name of a source plug-in."""
    version: int = 0
    """Raise it when content was replaced under the same paths: its rows are then read again."""

    @property
    def settings(self) -> dict[str, Any]:
        return {"kind": self.kind, **(self.model_extra or {})}


class ModalityEntry(Section):
    """A named view of a sample: a `kind` of modality and its settings."""

    model_config = ConfigDict(extra="allow")

    kind: str
    """Name of a modality plug-in."""
    column: str
    """Column of the source that holds it."""
    cell: Literal["path", "value"] | None = None
    """Whether the cells hold paths or the value itself; by default what is usual for the kind."""
    max_invalid: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Fraction of the samples that may be invalid before the run stops."""
    store: bool = True
    """`false`: encoders decode from the source, each at its own size, and no array is stored."""
    rows_per_shard: Annotated[int, Field(ge=1)] | None = None
    """Rows in one file, a power of two; worked out where it is not given."""

    @field_validator("rows_per_shard")
    @classmethod
    def _check_stored(cls, rows: int | None, info: ValidationInfo) -> int | None:
        if rows is not None and not info.data.get("store", True):
            raise ValueError(f"{rows:,}, but store: false stores no files; set it for the encoder")
        return rows

    @property
    def settings(self) -> dict[str, Any]:
        return {"kind": self.kind, **(self.model_extra or {})}


class EncoderEntry(Section):
    """A named encoder: a `kind` of encoder and its settings."""

    model_config = ConfigDict(extra="allow")

    kind: str
    """Name of an encoder plug-in."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` is the GPU that the job was granted, else the CPU; small encoders stay on the CPU."""
    rows_per_shard: Annotated[int, Field(ge=1)] | None = None
    """Rows in one file, a power of two; worked out where it is not given."""

    @property
    def settings(self) -> dict[str, Any]:
        return {"kind": self.kind, **(self.model_extra or {})}


class DatasetSettings(Section):
    """A named, ordered set of samples."""

    source: Annotated[list[SourceEntry], Field(min_length=1)]
    """Row order is the order of this list; new data is a new entry at the end."""
    capacity: Annotated[int, Field(ge=1, le=10**15)]
    """Rows at most; partitions = capacity / rows_per_job."""
    rows_per_job: Annotated[int, Field(ge=8), AfterValidator(_check_rows_per_job)]
    """Rows of one partition, which is one job of each stage; a multiple of 64, or 8, 16 or 32."""
    on_duplicate: Literal["error", "quarantine", "trust"] = "error"
    """What a key that repeats, or is empty, means; `trust` does not look."""
    label: str | None = None
    """Column of the source with the class or value to predict."""
    group: str | None = None
    """Column of the source; a group never straddles splits."""
    split: SplitSettings = SplitSettings()
    """Train, validation and test."""
    modalities: Annotated[dict[ModalityName, ModalityEntry], Field(min_length=1)]
    """Views of a sample, by name."""
    features: dict[Name, list[Name]] = Field(default_factory=dict)
    """For each modality, the encoders to run over it."""

    @property
    def partitions(self) -> int:
        return -(-self.capacity // self.rows_per_job)

    @property
    def columns(self) -> dict[str, str]:
        """Index column → source column, of those that are not a modality's."""
        named = {"label": self.label, "group": self.group, "split": self.split.column}
        return {name: column for name, column in named.items() if column is not None}
