"""What is read from the sources, and how fast that has to come."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sampan import plugins
from sampan.config.dataset import ModalityEntry
from sampan.errors import InvalidSample, StorageError
from sampan.index.cells import CellReader
from sampan.index.parts import IndexFolder, IndexPart
from sampan.operations.estimate.measured import Measured
from sampan.operations.estimate.schedule import Timed
from sampan.plan import Plan
from sampan.plan.stages import ARRAY_STAGES
from sampan.storage.durable import read_json
from sampan.store.documents import PartRows

LOOKED_AT = 64
"""Samples whose files are asked for their size."""


def source_bytes(results: Path, dataset: str, name: str, entry: ModalityEntry) -> float | None:
    """
    Bytes of one sample of a modality on average, of samples spread evenly over one row group.

    None where there is no index with this modality, or none of the files is there.
    """
    folder = IndexFolder(results / dataset / "index")
    receipt = folder.receipt(name, 0)
    if not receipt.exists() or not folder.part(0).exists():
        return None
    table = IndexPart(folder.part(0))
    if name not in table.columns or not read_json(receipt, PartRows)["rows"]:
        return None
    usual = plugins.plugin_class("modalities", entry.kind).cell
    reader = CellReader.of(table, entry.cell or usual, max_bytes=0, patience_seconds=0)
    cells = table.read(["root", name], next(table.groups()))
    chosen = range(0, len(cells["root"]), max(1, len(cells["root"]) // LOOKED_AT))
    sizes = []
    for row in chosen:
        with suppress(InvalidSample, StorageError):
            cell = reader.cell(cells["root"][row], cells[name][row])
            sizes += [] if cell is None else [reader.size(cell)]
    return sum(sizes) / len(sizes) if sizes else None


@dataclass(frozen=True, kw_only=True)
class Input:
    """One modality's source bytes; `bytes_per_sample` is None where no index says it."""

    timed: Timed
    bytes_per_sample: float | None
    source: str

    @property
    def bytes(self) -> float:
        return (self.bytes_per_sample or 0.0) * self.timed.work.rows

    @property
    def peak_bytes_per_second(self) -> float | None:
        """While every place decodes this modality; None where its rate is not known."""
        if self.bytes_per_sample is None or self.timed.rate is None:
            return None
        seconds = self.timed.longest_seconds
        if seconds == 0:
            return None
        at_once = min(self.timed.machines.jobs_at_once, self.timed.work.submitted)
        return at_once * self.bytes_per_sample * self.timed.work.largest / seconds


def inputs_of(
    plan: Plan, timed: Sequence[Timed], measured: Sequence[Measured], given: Mapping[str, int]
) -> Iterator[Input]:
    """One for each modality of each dataset; `given` are modalities' bytes as people state them."""
    for item in timed:
        stage = item.work.stage
        if stage is None or stage.kind not in ARRAY_STAGES:
            continue
        dataset, name = stage.dataset, stage.modality
        entry = plan.config.datasets[dataset].modalities[name]
        if entry.store != (stage.kind == "preprocess"):
            continue
        known: float | None = given.get(name)
        source = "--input-bytes"
        for run in measured:
            if known is None:
                known = source_bytes(run.folder, dataset, name, entry)
                source = run.label or f"files named in {run.folder}/{dataset}/index"
        if known is None:
            source = f"no index names its files yet; or say --input-bytes {name}=N"
        yield Input(timed=item, bytes_per_sample=known, source=source)
