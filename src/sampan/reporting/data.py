"""
What the report shows: plain numbers, texts and arrays, from which `page.render` makes the page.

Nothing here knows where results lie. Texts may hold anything a dataset may hold; the page escapes
them. Mappings and sequences are shown in the order in which they are given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

Task = Literal["classify", "regress", "align", "retrieve"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image: `pixels` (y, x) or (y, x, channel) uint8 with 1, 3 (RGB) or 4 (RGBA) channels."""

    pixels: NDArray[Any]

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype != "uint8":
            raise ValueError(f"a picture's pixels are uint8, not {self.pixels.dtype}")
        if (
            len(shape) not in (2, 3)
            or 0 in shape
            or (len(shape) == 3 and shape[2] not in (1, 3, 4))
        ):
            raise ValueError(f"a picture is (y, x) or (y, x, 1, 3 or 4 channels), not {shape}")


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A mono recording, shown as a spectrogram: `samples` (time) of any integer or float type."""

    samples: NDArray[Any]
    rate_hz: float

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.size == 0:
            raise ValueError(f"a sound is (time) and not empty, not {self.samples.shape}")


@dataclass(frozen=True, kw_only=True)
class ShownText:
    """A text, shown as it is and shortened where it is long."""

    text: str


Media = Picture | Sound | ShownText


@dataclass(frozen=True, kw_only=True)
class ShownSample:
    """One row of a dataset; a modality's `media` is None where it is not valid."""

    key: str
    media: Mapping[str, Media | None]
    label: str | None = None
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """One quarantined sample: its key, what its cell held, and what is wrong with this one."""

    key: str
    cell: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why `count` samples are in the quarantine, with a few of them."""

    reason: str
    count: int
    examples: Sequence[Rejected] = ()


@dataclass(frozen=True, kw_only=True)
class ModalityReport:
    """One modality; `array` is its row in words ("32 × 32 × 1 uint8"), or "not stored"."""

    name: str
    kind: str
    variant: str
    array: str
    valid: int
    quarantined: int
    bytes: int
    absent: int = 0
    """Samples without a value, which are neither valid nor quarantined."""
    reasons: Sequence[Reason] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    """Samples for each note of the decoder ("cut", "padded")."""
    cut_by: str = ""
    """How much of the samples that were cut is lost, in words."""

    @property
    def total(self) -> int:
        return self.valid + self.quarantined + self.absent


@dataclass(frozen=True, kw_only=True)
class FeatureReport:
    """The stored features of one encoder for one modality; `bytes` on storage."""

    encoder: str
    modality: str
    variant: str
    dimensions: int
    dtype: str
    rows: int
    valid: int
    bytes: int
    reasons: Sequence[Reason] = ()
    """Samples that the encoder itself refused."""

    @property
    def name(self) -> str:
        return f"{self.modality}.{self.encoder}"


@dataclass(frozen=True, kw_only=True)
class LabelCount:
    """Samples with one label, for each of the dataset's `splits`."""

    label: str
    splits: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    """One dataset: `rows` indexed of `capacity` at most."""

    name: str
    rows: int
    capacity: int
    modalities: Sequence[ModalityReport]
    features: Sequence[FeatureReport] = ()
    splits: Mapping[str, int] = field(default_factory=dict)
    split_of: Sequence[str] = ()
    """Models whose split that is; none where it is the dataset's own."""
    labels: Sequence[LabelCount] = ()
    """Label distribution of a categorical label."""
    values: NDArray[Any] | None = None
    """(sample): a numeric label instead; NaN where there is none."""
    label_name: str | None = None
    """None where samples have no label."""
    reasons: Sequence[Reason] = ()
    """Rows that the index itself could not use (empty or duplicate keys)."""
    examples: Sequence[ShownSample] = ()


@dataclass(frozen=True, kw_only=True)
class ShownMetric:
    """
    One metric on the test split with its 95 % interval.

    `name` as in `metrics.json`: `accuracy`, or `image→caption/recall_at_1` for a direction.
    `chance` is what guessing would give, `unit` the unit of an error (of the label).
    """

    name: str
    value: float
    low: float
    high: float
    chance: float | None = None
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class History:
    """Training curves, each (epoch) float and NaN where not measured; `epoch` (epoch) from 1."""

    epoch: NDArray[Any]
    train_loss: NDArray[Any]
    validation_loss: NDArray[Any]
    best_epoch: int
    metric_name: str = ""
    metric: NDArray[Any] | None = None
    """The validation metric that early stopping watches."""
    samples: int | None = None
    """Of the validation split."""
    epochs: int | None = None
    """Epochs at most; None where that is not known."""

    @property
    def ended_best(self) -> bool:
        """Whether the last epoch that the settings allow was the best."""
        return self.epochs is not None and self.best_epoch == self.epochs


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Test samples for each pair: `counts` (true, predicted) integer, in the order of `labels`."""

    labels: Sequence[str]
    counts: NDArray[Any]
    of: int | None = None
    """Labels that there are, where only those confused most are given."""
    wrong: int | None = None
    """Mistakes of all labels, also of those that are not given."""

    def __post_init__(self) -> None:
        if self.counts.shape != (len(self.labels), len(self.labels)):
            raise ValueError(f"{len(self.labels)} labels, but counts are {self.counts.shape}")


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A test sample (its `label` is the true one) whose `predicted` label is another one."""

    sample: ShownSample
    predicted: str
    confidence: float
    """Probability of the predicted label, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A regression's test split: `true` and `predicted`, both (sample) float."""

    true: NDArray[Any]
    predicted: NDArray[Any]
    target: str = "target"
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One retrieved item; `right` where it is an item that the query asks for."""

    key: str
    media: Media | None
    right: bool
    score: float


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query and the items nearest to it, best first; `rank` of the first right item, from 1."""

    key: str
    media: Media | None
    hits: Sequence[Hit]
    rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class Direction:
    """Retrieval examples from modality `source` to `target`, among `items` different items."""

    source: str
    target: str
    items: int
    queries: Sequence[Query]


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """One trained (or, for `retrieve`, only evaluated) model; `samples` of its test split."""

    name: str
    task: Task
    dataset: str
    variant: str
    inputs: Sequence[str]
    samples: int
    settings: Mapping[str, object] = field(default_factory=dict)
    roles: Mapping[str, int] = field(default_factory=dict)
    """Rows for each role: train, validation, test, left out."""
    has_own_split: bool = False
    """Whether it divides the dataset in another way than the dataset's own split."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Rows for each reason for being left out."""
    metrics: Sequence[ShownMetric] = ()
    history: History | None = None
    confusion: Confusion | None = None
    mistakes: Sequence[Mistake] = ()
    """Most confident first."""
    predictions: Predictions | None = None
    directions: Sequence[Direction] = ()


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """Something of the config that this page lacks."""

    what: str
    """`model digits-classify`, `features image.clip of digits`."""
    state: Literal["failed", "waiting", "running"]
    why: str = ""
    """The `error:` line of its log, or what it waits for."""
    log: str = ""


@dataclass(frozen=True, kw_only=True)
class RuleReport:
    """All jobs of one rule: their summed wall clock seconds, the largest job's memory in MB."""

    rule: str
    jobs: int
    seconds: float
    max_memory_mb: float
    busy: Mapping[str, float] = field(default_factory=dict)
    """Stage of the jobs (read, decode, encode, write) → its busy share, 0 to 1; and `wait`."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What made these results."""

    digests: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    config: str = ""
    """The config as text."""
    rules: Sequence[RuleReport] = ()


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """The whole report; `summary` says in a sentence or two what was run."""

    title: str
    summary: str
    version: str
    """Of sampan."""
    datasets: Sequence[DatasetReport]
    models: Sequence[ModelReport]
    provenance: Provenance = field(default_factory=Provenance)
    unfinished: Sequence[Unfinished] = ()
    """Failed ones first; the page says that it is incomplete where there are any."""
