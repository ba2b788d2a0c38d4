"""
Bytes and files that a run leaves on the shared tier.

Arrays are exact: whole shards, their padding, their index, `valid`, as `store/layout.py` cuts them.
The small files beside them are counted exactly and weighed roughly. Folders are not counted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sampan import plugins
from sampan.config.dataset import DatasetSettings
from sampan.operations.estimate.dimensions import Dimensions
from sampan.operations.estimate.jobs import Rows, Work
from sampan.plan import Jobs, Plan
from sampan.steps.extract import choose_layout as features_layout
from sampan.steps.preprocess import choose_layout as modality_layout
from sampan.store.layout import ArrayLayout, Layout
from sampan.store.ledger import Record
from sampan.store.variant import Variant

LOG_BYTES, BENCHMARK_BYTES, RECEIPT_BYTES, PLAN_BYTES = 300, 140, 400, 450
EVENTS_BYTES, QUARANTINE_BYTES = 1_000, 2_500
PARTITION_BYTES = 350
"""Of a `dataset.json`, for each partition that it lists."""
METADATA_BYTES = 2_700
"""Of Snakemake's record of one output: rule, environment, shell command."""
REPORT_BYTES = 300_000
KEY_BYTES, CELL_BYTES, DIGEST_BYTES = 16, 32, 40
"""Of a row of Parquet: a key, a cell of text, a digest in hexadecimal digits."""
CHECKPOINTS = 2
IN_A_CHECKPOINT = 4
"""Weights, the best weights, and AdamW's two moments."""


class Files(NamedTuple):
    """Some files of a kind; `exact` where their bytes follow from the layout alone."""

    what: str
    files: int
    bytes: int
    exact: bool = False


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a step leaves; None where that cannot be known yet, and then `source` says why."""

    parts: tuple[Files, ...] | None
    source: str

    @property
    def files(self) -> int | None:
        return None if self.parts is None else sum(part.files for part in self.parts)

    @property
    def bytes(self) -> int | None:
        return None if self.parts is None else sum(part.bytes for part in self.parts)


def array_bytes(array: ArrayLayout, rows: int) -> Files:
    """
    The shard files of one array of `rows` rows.

    Zarr v3's sharding codec: inner chunks that hold a row, whole; then 16 bytes for each inner
    chunk of the shard, and 4 of CRC-32C.
    """
    chunk = array.rows_per_chunk * array.row_bytes
    whole, left = divmod(rows, array.rows_per_shard)
    shards = whole + (left > 0)
    chunks = whole * array.chunks_per_shard + -(-left // array.rows_per_chunk)
    index = 16 * array.chunks_per_shard + 4
    return Files("shards", shards, chunks * chunk + shards * index, exact=True)


def stage_files(layout: Layout, rows: Rows, *, reads_source: bool) -> Iterator[Files]:
    """
    All files in a variant's folder, once it is committed.

    The quarantine counts as one file for each partition with samples, which is the most there can
    be; and each ledger as that of a job which was never killed.
    """
    for array in layout.arrays.values():
        yield array_bytes(array, rows.rows)
    metadata = [layout.metadata(name, rows.rows) for name in layout.arrays]
    about = sum(len(str(item)) for item in metadata) + len(str(layout.as_json()))
    yield Files("metadata", len(metadata) + 3, 2 * about + PARTITION_BYTES * rows.partitions)
    yield Files("receipts", rows.partitions, RECEIPT_BYTES * rows.partitions)
    yield Files("ledgers", rows.with_rows, _ledger_bytes(layout, rows.rows, reads_source))
    yield Files("quarantines, at most", rows.with_rows, QUARANTINE_BYTES * rows.with_rows)


def _ledger_bytes(layout: Layout, rows: int, reads_source: bool) -> int:
    shards = len(layout.shards(0, rows))
    crc, digest = "0" * 8, "0" * 32
    files: dict[str, dict[str, Any]] = {
        name: {"bytes": array_bytes(array, layout.rows_per_shard).bytes, "crc32c": crc}
        for name, array in layout.arrays.items()
        if name != "valid"
    }
    record = Record(
        shard=max(0, shards - 1),
        key=digest,
        rows=layout.rows_per_shard,
        files=files,
        content=digest if reads_source else "",
    )
    return shards * len(record.line())


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What each step of a plan leaves; `index_row_bytes` were measured, dataset → (bytes, who)."""

    plan: Plan
    rows: Mapping[str, Rows]
    dimensions: Dimensions
    index_row_bytes: Mapping[str, tuple[float, str]]

    def of(self, work: Work) -> Size:
        """A step's results, and the logs and benchmarks of its jobs."""
        if work.step in ("preprocess", "extract"):
            found = self._stage(work)
        elif work.step in ("scan", "index"):
            found = self._index(work, self.plan.config.datasets[work.dataset])
        elif work.step in ("train", "evaluate"):
            found = self._model(work)
        elif work.step == "report":
            found = Size(parts=(Files("page and its copy", 2, 2 * REPORT_BYTES),), source="assumed")
        else:
            found = Size(parts=(), source="its raw files, in resources/, are not counted")
        if found.parts is None:
            return found
        jobs = sum(work.rules.values())
        said = 0 if work.stage is None and work.step == "digits" else jobs
        beside = (
            Files("logs", jobs, jobs * LOG_BYTES),
            Files("events", said, said * EVENTS_BYTES),
            Files("benchmarks", jobs, jobs * BENCHMARK_BYTES),
        )
        return Size(parts=(*found.parts, *beside), source=found.source)

    def snakemake(self, work: list[Work]) -> Size:
        """`.snakemake/metadata` in the working folder: a file for each output."""
        outputs = sum(item.outputs for item in work)
        return Size(
            parts=(Files("records", outputs, METADATA_BYTES * outputs),),
            source=f"a record of {METADATA_BYTES:,} B (assumed) for each output",
        )

    def layout(self, work: Work) -> tuple[Layout | None, str]:
        """A stage's layout: the one that its folder is bound to, or the one it would choose."""
        stage = work.stage
        assert stage is not None
        pinned = Variant(self.plan.results / stage.folder).layout
        if pinned.exists():
            return Layout.read(pinned), "the layout.json that is there"
        if work.step == "preprocess":
            entry = self.plan.config.datasets[stage.dataset].modalities[stage.name]
            plugin: plugins.Modality = plugins.make("modalities", entry.settings, stage.name)
            job = Jobs(self.plan).preprocess(stage.dataset, stage.name)
            return modality_layout(job, plugin), "its layout"
        dimensions, source = self.dimensions.of(stage)
        if dimensions is None:
            return None, source
        features = Jobs(self.plan).extract(stage.dataset, stage.name)
        return features_layout(
            features, dimensions
        ), f"its layout; {dimensions:,} dimensions: {source}"

    def _stage(self, work: Work) -> Size:
        layout, source = self.layout(work)
        if layout is None:
            return Size(parts=None, source=source)
        reads = "digest" in layout.arrays
        files = tuple(stage_files(layout, self.rows[work.dataset], reads_source=reads))
        return Size(parts=files, source=source)

    def _index(self, work: Work, settings: DatasetSettings) -> Size:
        rows = self.rows[work.dataset]
        parts, names = rows.partitions, [*settings.columns, *settings.modalities]
        if work.step == "scan":
            shared = len(set(self.plan.plan_files(work.dataset)))
            plans = Files("plans", shared, PLAN_BYTES * parts)
            state = Files("state", 2, 120 * parts)
            return Size(parts=(plans, state), source="assumed")
        assumed = KEY_BYTES + CELL_BYTES * len(names)
        row_bytes, source = self.index_row_bytes.get(
            work.dataset, (assumed, f"{assumed} B a row, assumed")
        )
        receipts = parts * (1 + len(settings.modalities))
        listed = (
            Files("lists", parts, round(row_bytes * rows.rows)),
            Files("receipts", receipts, RECEIPT_BYTES // 2 * receipts),
            Files("commit", 2, PARTITION_BYTES * parts),
        )
        return Size(parts=listed, source=source)

    def _model(self, work: Work) -> Size:
        """
        Weights from the inputs' dimensions; two checkpoints of four times the weights; every row in
        `samples.parquet`.
        """
        assert work.stage is not None
        model = self.plan.config.models[work.stage.name]
        if work.step == "evaluate":
            rows = round(0.2 * work.rows) * (2 * KEY_BYTES + CELL_BYTES)
            return Size(parts=(Files("evaluation", 3, rows),), source="assumed")
        weights = checkpoints = 0
        if model.task != "retrieve":
            sizes = [self._input(model.dataset, name) for name in model.inputs]
            known = [size for size in sizes if size is not None]
            if len(known) < len(sizes):
                return Size(parts=None, source="an encoder's dimensions are not known")
            width = model.hidden or 128
            weights = 4 * (sum(known) * (width + 2) + width * width * len(known))
            checkpoints = CHECKPOINTS if model.epochs == "auto" else min(CHECKPOINTS, model.epochs)
        row = KEY_BYTES + DIGEST_BYTES * len(model.modalities)
        files = (
            Files("model", 3, weights + row * work.rows),
            Files("checkpoints, at most", 3 * checkpoints, IN_A_CHECKPOINT * weights * checkpoints),
        )
        return Size(parts=files, source="assumed, from its inputs' dimensions and samples")

    def _input(self, dataset: str, name: str) -> int | None:
        return self.dimensions.of(self.plan.features[dataset, name])[0]
