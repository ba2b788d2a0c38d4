"""
Plug-ins: found by name through entry points, loaded when used.

Three groups: `sampan.sources`, `sampan.modalities` and `sampan.encoders`. A plug-in is a frozen,
keyword-only dataclass: its fields are its settings, checked by pydantic as they stand, and its
methods do the work. Its module imports no array library at the top, so that settings can be checked
cheaply.
"""

import dataclasses
import hashlib
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import TypeAdapter, ValidationError

from sampan.config.faults import faults_of
from sampan.errors import ConfigError, PluginError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Group = Literal["sources", "modalities", "encoders"]

REVISIONS: Mapping[str, int] = {
    "preprocess": 1,
    "extract": 1,
    "train": 1,
    "modalities.image": 1,
    "modalities.text": 1,
    "modalities.audio": 1,
    "encoders.hog": 1,
    "encoders.colour": 1,
    "encoders.ngrams": 1,
    "encoders.logmel": 1,
    "encoders.transformers": 1,
}
"""
Raised by a person when a step of ours gives other values for the same settings: makes new variants.
"""


class ArraySpec(NamedTuple):
    """One row of a stored array: `dims`, `shape` and `dtype` without the leading `sample`."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str


class Decoded(NamedTuple):
    """What a decoder tells of one sample: elements used of the row, and what to count ("cut")."""

    length: int | None = None
    notes: tuple[str, ...] = ()


class Modality(Protocol):
    """Bytes of one sample → one row of the canonical array."""

    cell: ClassVar[Literal["path", "value"]]
    """What a table's cell holds unless the config says otherwise."""
    workers: ClassVar[Literal["threads", "processes"]]
    """`processes` where a decoder may crash, hang or hold the interpreter's lock."""
    has_length: ClassVar[bool]
    """Whether `decode` says how many elements of the row's first dimension are used."""
    max_bytes: int
    """Source bytes of one sample at most; checked before reading."""

    def array(self) -> ArraySpec: ...

    def memory_bytes(self) -> int:
        """Working memory of one `decode` at most, in bytes, beside `out` and the source bytes."""
        ...

    def decode(self, data: bytes, out: "NDArray[Any]") -> Decoded:
        """Fill `out` (shape and dtype of `array()`, zeroed), or raise `InvalidSample`."""
        ...


class Encode(Protocol):
    """A loaded encoder: called on batches of valid rows of one modality's array."""

    dimensions: int

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.float32]":
        """(sample, …) and (sample) → (sample, embedding)."""
        ...


class Encoder(Protocol):
    """A batch of one modality → embeddings."""

    kinds: ClassVar[tuple[str, ...]]
    """Kinds of modality that it takes."""
    workers: ClassVar[Literal["processes", "one"]]
    """`processes`: one thread each; `one`: a single process that uses all threads, or the GPU."""
    batch: int
    """Rows in a batch at most."""

    def memory_bytes(self) -> int:
        """Memory of one worker at most, in bytes; from the settings alone."""
        ...

    def check(self, modality: Modality) -> list[str]:
        """
        Why this stored modality cannot serve, with the setting to change; may read small files.
        """
        ...

    def load(self, modality: Modality, device: str) -> Encode: ...


class Cells(NamedTuple):
    """Some rows of a source, in order; a row with a `reason` cannot be used."""

    keys: list[str]
    columns: dict[str, list[Any]]
    reasons: list[str | None]
    offsets: list[int]
    """Where to start reading for this row: a byte offset, or a row number."""


class Source(Protocol):
    """A raw format → rows of cells, in an order that never changes."""

    def files(self) -> list[Path]:
        """The files in row order, or a `DataError` that says what is missing."""
        ...

    def root_of(self, file: Path) -> Path:
        """The folder to which paths in the cells of `file` are relative."""
        ...

    def stamp(self, file: Path) -> str:
        """What changes with a file that a scan need not read whole; empty where it reads it all."""
        ...

    def read(
        self, file: Path, columns: tuple[str, ...], *, start: int = 0, rows: int = 8192
    ) -> Iterator[Cells]:
        """Batches of at most `rows` rows from the offset `start` on, with the key and `columns`."""
        ...


@cache
def _entry_points(group: Group) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"sampan.{group}")}


def kinds(group: Group) -> list[str]:
    """Names of all plug-ins of a group that are installed."""
    return sorted(_entry_points(group))


@cache
def plugin_class(group: Group, kind: str) -> type[Any]:
    """
    The class of a plug-in; `PluginError` where there is none of that name, or its import fails.
    """
    point = _entry_points(group).get(kind)
    if point is None:
        raise PluginError(f"no {group} of kind {kind!r}; there are: {', '.join(kinds(group))}")
    try:
        loaded: type[Any] = point.load()
    except Exception as fault:
        raise PluginError(f"{group} {kind!r} ({point.value}) does not load: {fault}") from fault
    if not dataclasses.is_dataclass(loaded):
        raise PluginError(f"{group} {kind!r} ({point.value}) is no dataclass")
    return loaded


def make(group: Group, settings: Mapping[str, Any], where: str) -> Any:
    """
    The plug-in for `{kind: …, **settings}`; all its faults in one `ConfigError`, each at `where`.
    """
    kind = str(settings.get("kind"))
    try:
        found = plugin_class(group, kind)
    except PluginError as fault:
        raise ConfigError([f"{where}: {line}" for line in fault.faults]) from fault
    values = {name: value for name, value in settings.items() if name != "kind"}
    try:
        return _adapter(found).validate_python(values)
    except ValidationError as fault:
        raise ConfigError(faults_of(fault, where)) from None


def _adapter(found: type[Any]) -> TypeAdapter[Any]:
    if found not in _ADAPTERS:
        _ADAPTERS[found] = TypeAdapter(found)
    return _ADAPTERS[found]


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def settings_schema(group: Group, kind: str) -> dict[str, Any]:
    """JSON schema of a plug-in's settings, with `kind`."""
    schema = _adapter(plugin_class(group, kind)).json_schema()
    schema["properties"] = {"kind": {"const": kind}} | schema.get("properties", {})
    schema["required"] = ["kind", *schema.get("required", [])]
    return schema


def identity(group: Group, kind: str, plugin: Any) -> dict[str, Any]:
    """
    What decides a plug-in's output: its kind, revision and non-default settings.

    Fields whose metadata says `{"identity": False}` (a path, a batch size) are left out. Our own
    plug-ins count by the revision in `REVISIONS`, a user's by the digest of its module's source.
    """
    changed = {
        field.name: getattr(plugin, field.name)
        for field in dataclasses.fields(plugin)
        if field.metadata.get("identity", True) and getattr(plugin, field.name) != default_of(field)
    }
    return {"kind": kind, "revision": revision(group, kind), "settings": changed}


def revision(group: Group, kind: str) -> int | str:
    found = plugin_class(group, kind)
    if found.__module__.partition(".")[0] == "sampan":
        return REVISIONS[f"{group}.{kind}"]
    source = inspect.getsourcefile(found)
    if source is None:
        raise PluginError(f"{group} {kind!r}: no source file for {found.__module__}")
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16]


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The value of a dataclass field that nobody set; `MISSING` where it has to be set."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
