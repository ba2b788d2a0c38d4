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
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from sampan.config.dataset import EncoderEntry, ModalityEntry, Section, SourceEntry
from sampan.config.faults import faults_of
from sampan.errors import ConfigError, PluginError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Group = Literal["sources", "modalities", "encoders"]

REVISIONS: Mapping[str, int] = {
    "preprocess": 2,
    "extract": 1,
    "train": 1,
    "modalities.image": 3,
    "modalities.text": 2,
    "modalities.audio": 2,
    "encoders.hog": 1,
    "encoders.colour": 1,
    "encoders.ngrams": 1,
    "encoders.logmel": 2,
    "encoders.transformers": 2,
    "encoders.onnx": 2,
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


class Shortened(Decoded):
    """The same of a sample that is known to have had `whole` elements, more than its row holds."""

    whole: int

    @classmethod
    def of(cls, length: int, notes: tuple[str, ...], whole: int) -> "Shortened":
        found = cls(length, notes)
        found.whole = whole
        return found


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
    """
    A loaded encoder: called on batches of valid rows of one modality's array.

    What it can do besides are protocols of their own: `PadsRows`, `PreparesRows`, `QueuesBatches`.
    """

    dimensions: int

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.float32]":
        """(sample, …) and (sample) → (sample, embedding)."""
        ...


@runtime_checkable
class PadsRows(Protocol):
    """
    A loaded encoder of which rows of a batch may cost as much as the longest of them.

    Where `pads` is true, rows come in an order of their lengths, and more of them where they are
    short.
    """

    @property
    def pads(self) -> bool: ...


Prepare = Callable[
    ["NDArray[Any]", "NDArray[np.int32] | None"], tuple["NDArray[Any]", "NDArray[np.int32]"]
]
"""(sample, …) and (sample) → (sample, …) and (sample)"""


@runtime_checkable
class PreparesRows(Protocol):
    """
    A loaded encoder that makes something else of many rows together, before they are cut into
    batches: tokens of text, and their number. Calls get that then, unless `prepare` is None.
    """

    @property
    def prepare(self) -> Prepare | None: ...


Pending = Callable[[], "NDArray[np.float32]"]
"""(sample, embedding), once they are asked for."""


@runtime_checkable
class QueuesBatches(Protocol):
    """
    A loaded encoder whose GPU need not wait between batches.

    `begin` comes back once the work is queued and `data` is no longer needed; what it gives is
    called after `begin` was called with the next batch.
    """

    def begin(self, data: "NDArray[Any]", length: "NDArray[np.int32] | None") -> Pending: ...


@runtime_checkable
class TimesDevice(Protocol):
    """What `begin` gives, where it knows how long the GPU worked."""

    @property
    def seconds(self) -> float | None:
        """Known once it was called."""
        ...


class Encoder(Protocol):
    """
    A batch of one modality → embeddings.

    What it can say besides are protocols of their own: `KnowsDimensions`, `GrowsWithRows`,
    `DecidesDecoding`.
    """

    kinds: ClassVar[tuple[str, ...]]
    """Kinds of modality that it takes."""
    workers: ClassVar[Literal["processes", "one"]]
    """`processes`: one thread each; `one`: a single process that uses all threads, or the GPU."""

    @property
    def batch(self) -> int | Literal["auto"]:
        """Rows in a batch at most; `auto` leaves it to the job (`batch_rows`)."""
        ...

    def memory_bytes(self) -> int:
        """Memory of one worker at most, in bytes; from the settings alone."""
        ...

    def check(self, modality: Modality) -> list[str]:
        """
        Why this stored modality cannot serve, with the setting to change; may read small files.
        """
        ...

    def load(self, modality: Modality, device: str) -> Encode: ...


@runtime_checkable
class DecidesDecoding(Protocol):
    """An encoder whose own files decide how a modality has to be decoded (`store: false`)."""

    decides: ClassVar[Mapping[str, Mapping[str, Any]]]
    """Kind of modality → setting → its largest value, for planning."""

    def wants(self, kind: str) -> Mapping[str, Any]:
        """Setting → value, as its files say."""
        ...


@runtime_checkable
class KnowsDimensions(Protocol):
    """An encoder whose settings tell how long its embeddings are."""

    def dimensions_for(self, modality: Modality) -> int:
        """Of embeddings of this modality; no array library is imported."""
        ...


@runtime_checkable
class GrowsWithRows(Protocol):
    """An encoder whose working memory grows with the length or the size of a row."""

    def row_memory_bytes(self, modality: Modality) -> int:
        """
        As `memory_bytes`, with rows of this modality; from the settings alone. The rows themselves
        do not count.
        """
        ...


AUTO_ROWS: Mapping[str, int] = {"cpu": 32, "cuda": 1024}
"""Rows in a batch at most where the settings say `auto`, on each device."""
AUTO_BYTES = 160 * 2**20
"""Bytes of such a batch at most, as its rows are stored; 32 rows may be more."""


def batch_rows(encoder: Encoder, device: str, row_bytes: int) -> int:
    """Rows in a batch at most, as far as the settings tell: a power of two with `auto`."""
    if encoder.batch != "auto":
        return encoder.batch
    rows = AUTO_ROWS[device]
    while rows > AUTO_ROWS["cpu"] and rows * row_bytes > AUTO_BYTES:
        rows //= 2
    return rows


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


@runtime_checkable
class TypedSource(Protocol):
    """A source whose columns may have types that are known before a row is read."""

    def type_faults(self, file: Path, columns: Mapping[str, str]) -> list[str]:
        """A line for each use whose column (use → column) cannot hold one text or number a row."""
        ...


@runtime_checkable
class SelectiveSource(Protocol):
    """A source that leaves out rows, and can say why none is left."""

    def why_no_rows(self) -> list[str]: ...


ENTRIES: Mapping[Group, type[Section]] = {
    "sources": SourceEntry,
    "modalities": ModalityEntry,
    "encoders": EncoderEntry,
}
"""What the config says of a plug-in beside the plug-in's own settings."""


@cache
def _entry_points(group: Group) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"sampan.{group}"):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise PluginError(
                f"two {group} are of kind {point.name!r}: {other.value} and {point.value}; "
                "remove one of the packages"
            )
    return found


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
    if getattr(loaded, "__pydantic_config__", {}).get("extra") != "forbid":
        raise PluginError(
            f"{group} {kind!r} ({point.value}) would ignore unknown settings in silence; "
            'it needs __pydantic_config__ = {"extra": "forbid"}'
        )
    return loaded


def make(group: Group, settings: Mapping[str, Any], where: str) -> Any:
    """
    The plug-in for `{kind: …, **settings}`; all its faults in one `ConfigError`, each at `where`.
    """
    kind = str(settings.get("kind"))
    try:
        adapter = _adapter(group, kind)
    except PluginError as fault:
        raise ConfigError([f"{where}: {line}" for line in fault.faults]) from fault
    values = {name: value for name, value in settings.items() if name != "kind"}
    try:
        return adapter.validate_python(values)
    except ValidationError as fault:
        lines = faults_of(fault, values, lambda: settings_schema(group, kind), where)
        raise ConfigError(lines) from None


@cache
def _adapter(group: Group, kind: str) -> TypeAdapter[Any]:
    found = plugin_class(group, kind)
    try:
        return TypeAdapter(found)
    except (PydanticUserError, SchemaError, NameError) as fault:
        raise PluginError(
            f"{group} {kind!r} ({found.__module__}): pydantic cannot check its settings: {fault}"
        ) from fault


def settings_schema(group: Group, kind: str) -> dict[str, Any]:
    """JSON schema of a config's entry for a plug-in: the plug-in's settings, and the entry's."""
    entry = ENTRIES[group].model_json_schema()
    own = _adapter(group, kind).json_schema()
    properties = entry["properties"] | own.get("properties", {}) | {"kind": {"const": kind}}
    found = {
        "type": "object",
        "title": kind,
        "description": own.get("description", ""),
        "properties": properties,
        "required": sorted({*entry["required"], *own.get("required", [])}),
        "additionalProperties": False,
    }
    return found | ({"$defs": own["$defs"]} if "$defs" in own else {})


def decided(encoder_kind: str, modality_kind: str) -> Mapping[str, Any]:
    """
    Settings of a modality that an encoder's own files decide where nothing is stored, each with the
    largest value, for planning. Its digest stands for them in a name.
    """
    found = plugin_class("encoders", encoder_kind)
    if not _decides(found):
        return {}
    kinds: Mapping[str, Mapping[str, Any]] = found.decides
    return kinds.get(modality_kind, {})


def _decides(encoder: type[Any]) -> bool:
    return all(hasattr(encoder, name) for name in ("decides", "wants"))


def wanted(encoder: Any, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """
    A modality's settings as they are decoded for this encoder: what its files decide, and the rest
    as given. `ConfigError` where what was given says otherwise.
    """
    kind = str(given["kind"])
    if not isinstance(encoder, DecidesDecoding) or kind not in encoder.decides:
        return dict(given)
    decides = encoder.wants(kind)
    plugin = make("modalities", {**decides, **given}, where)
    faults = [
        f"{where}: {name}: {getattr(plugin, name)}, its encoder takes {value}; leave {name} out, "
        "or make a modality of its own for each encoder"
        for name, value in decides.items()
        if getattr(plugin, name) != value
    ]
    if faults:
        raise ConfigError(faults)
    return {**given, **decides}


def identity(group: Group, kind: str, plugin: Any) -> dict[str, Any]:
    """
    What decides a plug-in's output: its kind, revision and non-default settings.

    Fields whose metadata says `{"identity": False}` (a path, a batch size) are left out. Our own
    plug-ins count by the revision in `REVISIONS`, a user's by the digest of its module's source.
    """
    values = _adapter(group, kind).dump_python(plugin, mode="json")
    changed = {
        field.name: values[field.name]
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
