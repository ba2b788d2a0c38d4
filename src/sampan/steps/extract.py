"""
Run one encoder over one modality of one partition, a shard at a time.

A row that is not valid in the modality is NaN and not valid here; so is one for which the encoder
gives no finite embedding. Of a modality that is not stored the source is decoded straight into the
encoder, with the quarantine and the digests that `preprocess` would keep.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from sampan import plugins
from sampan.compute import Grant, Workers
from sampan.errors import ConfigError, StorageError
from sampan.execution.decoding import DIGEST
from sampan.execution.encoding import DTYPE, Encoding, encode_rows, rows_at_once
from sampan.execution.engine import make_partition_in_turn
from sampan.execution.loaded_encoder import forget_encoders, load_encoder, make_encoder
from sampan.execution.shard_job import Block, ShardMaker, ShardRows, ShardTask, Upstream
from sampan.execution.timings import WAIT, Timings
from sampan.execution.upstream import Sources, StageAbove
from sampan.execution.write_behind import WriteBehind
from sampan.flags import add_flags, grant_of
from sampan.plan import memory
from sampan.plan.jobs import ExtractJob, ModalitySettings
from sampan.plugins import ArraySpec, Encoder
from sampan.store import layout as layouts
from sampan.store.layout import Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray


def arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ExtractJob, part=True, grant=True)


def run(args: argparse.Namespace) -> None:
    make_partition_in_turn(
        Extractor(args.job),
        args.results,
        args.part,
        args.receipt,
        grant_of(args),
        args.patience_seconds,
    )


@dataclass(frozen=True)
class Extractor(ShardMaker[ExtractJob]):
    """Stores what an encoder makes of a modality's rows."""

    job: ExtractJob

    verb: ClassVar[str] = "extract"

    @property
    def _encoder(self) -> Encoder:
        return make_encoder(self.job.encoder)

    @property
    def upstream(self) -> Upstream:
        if self.job.above is None:
            return Sources(self.job, in_processes=True)
        return StageAbove(self.job, self.job.above)

    # In the job's own process -----------------------------------------------------------------

    def layout(self, pinned: Path, grant: Grant) -> Layout:
        """Where there is none yet, the encoder says its dimensions, or is loaded to learn them."""
        if pinned.exists():
            return choose_layout(self.job, _dimensions(pinned, self.job.stage.encoder))
        self.check_memory(grant)
        return choose_layout(self.job, self._dimensions())

    def _dimensions(self) -> int:
        job, encoder = self.for_workers().job, self._encoder
        if isinstance(encoder, plugins.KnowsDimensions):
            modality = job.modality.make(job.stage.modality)
            if faults := encoder.check(modality):
                raise ConfigError(faults)
            return encoder.dimensions_for(modality)
        found = load_encoder(job, "cpu").encode.dimensions
        forget_encoders()  # the workers load their own
        return found

    def check_memory(self, grant: Grant) -> None:
        modality = self.for_workers().job.modality.make(self.job.stage.modality)
        needed = memory.encoder_mb(
            self._encoder,
            grant.threads,
            grant.gpus,
            **{"fused" if self.job.reads_source else "stored": modality},
        )
        grant.need(needed, f"extract {self.job.stage.variant}", memory.advice_on(modality))

    def workers(self, grant: Grant) -> tuple[Workers, str]:
        encoder = self._encoder
        device = grant.device(self.job.device) if "cuda" in encoder.devices else "cpu"
        return ("gpus" if device == "cuda" else encoder.workers), device

    def for_workers(self) -> Self:
        """With the settings at which the encoder has its modality decoded."""
        if not self.job.reads_source:
            return self
        stage = self.job.stage
        where = f"datasets.{stage.dataset}.modalities.{stage.modality}"
        settings = plugins.decide_decoding(self._encoder, self.job.modality.values, where)
        return replace(self, job=replace(self.job, modality=ModalitySettings(settings)))

    # In a worker ------------------------------------------------------------------------------

    def prepare(self, task: ShardTask) -> None:
        load_encoder(self.job, task.device)

    def threads(self, task: ShardTask) -> Mapping[str, int]:
        decoders = task.threads
        reading = {"read": decoders, "decode": decoders} if self.job.reads_source else {"read": 1}
        return reading | {"encode": 1, "write": 1, WAIT: 1}

    def make(
        self,
        task: ShardTask,
        rows: ShardRows,
        layout: Layout,
        write: Callable[["NDArray[Any]"], None],
        timings: Timings,
    ) -> Mapping[int, str]:
        loaded = load_encoder(self.job, task.device)
        most_bytes = memory.AHEAD_BYTES[loaded.workers]
        blocks = rows.ahead(
            rows_at_once(loaded, rows.row_bytes), threads=task.threads, most_bytes=most_bytes
        )
        shape = layout.arrays[layout.main].spec.shape
        encoding = Encoding(loaded, shape, timings, first=task.first)
        with closing(encoding), WriteBehind(write, most_bytes) as behind, blocks:
            for embeddings in encoding.of(_settled(rows, blocks)):
                behind.put(embeddings)
        return encoding.invalid

    def try_row(self, task: ShardTask, block: Block) -> None:
        encode_rows(load_encoder(self.job, task.device).encode, block, np.array([0]))


def _settled(rows: ShardRows, blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        rows.settle(block)
        yield block


def _dimensions(layout: Path, name: str) -> int:
    arrays = Layout.read(layout).arrays
    if name not in arrays or len(arrays[name].spec.shape) != 1:
        raise StorageError(f"{layout}: is damaged: no embeddings of {name}")
    return arrays[name].spec.shape[0]


def choose_layout(job: ExtractJob, dimensions: int) -> Layout:
    """The embeddings' array, of so many dimensions; and the source's digests if read here."""
    specs = {job.stage.encoder: ArraySpec(("embedding",), (dimensions,), DTYPE)}
    if job.reads_source:
        specs["digest"] = DIGEST
    return layouts.choose(
        job.stage.digest,
        specs,
        job.rows_per_job,
        capacity=job.capacity,
        rows_per_shard=job.rows_per_shard,
    )
