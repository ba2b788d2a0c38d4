"""
The JSON files of a results folder, and the shape of each; `durable.read_json` checks it.

What may be missing was not written by earlier versions.
"""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

from sampan.storage.shape import Digits


class FileSum(TypedDict):
    """What a file holds: its size, and its CRC-32C as 8 hexadecimal digits."""

    bytes: int
    crc32c: str


# The index ----------------------------------------------------------------------------------------


class PlanPiece(TypedDict):
    """Rows of one source's file: where to start, how many to skip and to take."""

    source: int
    settings: dict[str, Any]
    version: int
    file: str
    offset: int
    skip: int
    rows: int
    stamp: str
    allow: NotRequired[list[str]]


class PartPlan(TypedDict):
    """Where one partition starts in the sources."""

    first: int
    rows: int
    pieces: list[PlanPiece]
    keys: str
    refused: dict[Digits, str]


PlanFile = dict[str, PartPlan]
"""`index/plan/part-00000.json`: "00000" → its plan; neighbours may share a file."""


class Root(TypedDict):
    """A folder that cells are relative to, the version of its source, where links may lead."""

    path: str
    version: int
    allow: NotRequired[list[str]]


class PartAbout(TypedDict):
    """In the metadata of `index/part-00000.parquet`."""

    first: int
    roots: list[Root]


class ScannedPart(TypedDict):
    first: int
    stop: int
    keys: str


class ScanState(TypedDict):
    """`index/scan.json`: what the last scan found. `listed`: partition → digest of its plan."""

    rows: int
    parts: list[ScannedPart]
    listed: NotRequired[dict[str, str]]


class Columns(TypedDict):
    """`index/columns@….json`: index column → the sources' column."""

    columns: dict[str, str]
    modalities: dict[str, str]


class Split(TypedDict):
    """`index/split@….json`."""

    split: dict[str, Any]


class Rows(TypedDict):
    """What all receipts say: which rows, and the digest of their keys."""

    part: int
    first: int
    rows: int
    keys: str


def fault_of_parts(rows: int, parts: Sequence[Rows]) -> str | None:
    """What is wrong with a list of partitions that is to hold all rows, one after the other."""
    if [part["part"] for part in parts] != list(range(len(parts))):
        return "parts: are not in order"
    stop = 0
    for part in parts:
        if part["rows"] and part["first"] != stop:
            return f"part {part['part']}: begins at row {part['first']:,}, not {stop:,}"
        stop += part["rows"]
    return None if stop == rows else f"rows: {rows:,}; its parts hold {stop:,}"


class CellsReceipt(Rows):
    """`index/receipts/<modality>/part-00000.json`."""

    digest: str


class ColumnsReceipt(Rows):
    """`index/receipts/columns/part-00000.json`: each other column's digest."""

    columns: dict[str, str]
    folded: NotRequired[dict[str, Any]]


class IndexDataset(TypedDict):
    """`index/dataset.json`."""

    dataset: str
    rows: int
    capacity: int
    rows_per_job: int
    columns: dict[str, str]
    modalities: dict[str, str]
    split: dict[str, Any]
    parts: list[ColumnsReceipt]


# Stages -------------------------------------------------------------------------------------------


class ArrayFile(TypedDict):
    name: str
    dims: list[str]
    shape: list[int]
    dtype: str
    rows_per_chunk: int
    rows_per_shard: int


class LayoutFile(TypedDict):
    """`layout.json`."""

    settings: str
    rows_per_part: int
    rows_per_shard: int
    arrays: list[ArrayFile]


class ChunkShape(TypedDict):
    chunk_shape: list[int]


class Chunked(TypedDict):
    configuration: ChunkShape


class ZarrArray(TypedDict):
    """What is read of an array's `zarr.json`, to learn its layout."""

    shape: list[int]
    data_type: str
    chunk_grid: Chunked
    codecs: list[Chunked]
    dimension_names: list[str]


class PartOfStage(Rows):
    """What `dataset.json` keeps of a receipt."""

    valid: int
    absent: NotRequired[int]
    digest: str
    valid_files: dict[Digits, FileSum]


class Receipt(PartOfStage):
    """`receipts/part-00000.json`."""

    settings: str
    reasons: dict[str, int]
    notes: dict[str, int]


class StageDataset(TypedDict):
    """`dataset.json` of a stage. `above`: the stage that it was made from, where there is one."""

    format: int
    stage: dict[str, Any]
    above: NotRequired[dict[str, Any]]
    made_with: dict[str, Any]
    rows: int
    valid: int
    absent: NotRequired[int]
    bytes: int
    reasons: dict[str, int]
    notes: dict[str, int]
    parts: list[PartOfStage]
    layout: LayoutFile


class LedgerLine(TypedDict):
    """A line of a ledger that records a shard."""

    shard: int
    key: str
    rows: int
    files: dict[str, FileSum]
    invalid: list[tuple[int, str]]
    absent: NotRequired[list[int]]
    notes: dict[str, int]
    content: str


class Withdrawal(TypedDict):
    """A line of a ledger that takes back what stood before."""

    shard: int
    withdrawn: bool


class RowCount(TypedDict):
    rows: int


class Counts(TypedDict):
    """What `sampan status` reads of a receipt, of the index or of a stage."""

    rows: int
    keys: str
    valid: NotRequired[int]
    absent: NotRequired[int]
    digest: NotRequired[str]
    columns: NotRequired[dict[str, str]]


class CountsOfPart(Counts):
    part: int


class CountsOfParts(TypedDict):
    parts: list[CountsOfPart]


# Models -------------------------------------------------------------------------------------------


class Measured(TypedDict):
    value: float
    low: float
    high: float


class Metrics(TypedDict):
    """`metrics.json`."""

    model: str
    task: str
    split: str
    samples: int
    metrics: dict[str, Measured]


class EpochLine(TypedDict):
    epoch: int
    steps: int
    learning_rate: float
    train_loss: float
    validation_loss: float
    validation_metric: float


class HistoryFile(TypedDict):
    """`history.json`."""

    epochs: list[EpochLine]
    best_epoch: int
    metric: str
    length: NotRequired[dict[str, int]]


class Digests(TypedDict):
    """What a model was made from."""

    settings: str
    features: dict[str, str]
    samples: str


class Counted(TypedDict):
    """How many samples served for what."""

    counts: dict[str, int]


class Summary(Counted):
    settings: dict[str, Any]


class ModelCard(Summary):
    """`model.json`."""

    model: str
    task: str
    dataset: str
    inputs: list[str]
    split: dict[str, Any]
    seed: Any
    length: NotRequired[dict[str, int]]
    left_out: dict[str, int]
    metrics: dict[str, Measured]
    digests: Digests
    versions: dict[str, str]
    files: dict[str, FileSum]
    chance: dict[str, float]
    classes: NotRequired[list[str]]
