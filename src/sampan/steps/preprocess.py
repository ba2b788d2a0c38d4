"""
Decode one modality of one partition into its canonical array, a shard at a time.

A sample that cannot be decoded keeps its row, is marked not valid, and stands in the quarantine
with its reason. Shards that are recorded are adopted; only the others are made.
"""

import argparse
import errno
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from sampan import plan, plugins
from sampan.compute import Grant
from sampan.errors import InvalidSample, StorageError
from sampan.plugins import ArraySpec, Modality
from sampan.steps import job
from sampan.steps.index import cell_line
from sampan.steps.limits import cpu_seconds_at_most
from sampan.steps.shards import ShardTask, check_invalid, make_shards, settle
from sampan.store import layout as layouts
from sampan.store.durable import patiently, read_json
from sampan.store.identity import content_hash, digest_lines
from sampan.store.index import IndexFolder, IndexPart
from sampan.store.layout import Layout
from sampan.store.ledger import Record
from sampan.store.partition import Partition
from sampan.store.variant import publish, recorded

DIGEST = ArraySpec(("byte",), (16,), "uint8")
LENGTH = ArraySpec((), (), "int32")
MISSING_SHARE = 0.5


def arguments(parser: argparse.ArgumentParser) -> None:
    job.arguments(parser, part=True, grant=True)


def run(args: argparse.Namespace) -> None:
    grant, patience = job.grant_of(args), args.patience_seconds
    with job.turn_at_part(args, "preprocess") as turn:
        work = partial(
            preprocess, args.spec, args.results, args.part, args.receipt, grant, patience, turn
        )
        patiently(work, patience, f"preprocess part {args.part}")


def preprocess(
    spec: dict[str, Any],
    results: Path,
    part: int,
    receipt: Path,
    grant: Grant,
    patience_seconds: float = job.PATIENCE_SECONDS,
    turn: job.Turn | None = None,
) -> Partition:
    """Make all shards of a partition that are not recorded yet, then its receipt."""
    stage = job.stage_of(spec["stage"])
    variant = job.variant_of(results, spec["stage"])
    index = IndexFolder(results / stage.dataset / "index")
    above = read_json(index.receipt(stage.name, part))
    plugin: Modality = plugins.make("modalities", spec["modality"], stage.name)
    layout = layouts.pin(variant.layout, choose_layout(spec, plugin))
    partition = Partition(variant, layout, part, above["first"], above["rows"], above["keys"])
    if partition.rows:
        table = IndexPart(index.part(part))
        keys = {shard: _key(spec, stage.name, table, partition.rows_of(shard))
                for shard in partition.shards}  # fmt: skip
        todo = partition.adopt(keys)
        if todo:
            grant.need(plan.modality_mb(plugin, grant.threads), f"preprocess {stage.name}")
            tasks = [
                ShardTask(
                    step="preprocess",
                    spec=spec,
                    results=str(results),
                    part=part,
                    shard=shard,
                    first=partition.rows_of(shard).start,
                    stop=partition.rows_of(shard).stop,
                    key=keys[shard],
                    patience_seconds=patience_seconds,
                )
                for shard in todo
            ]
            make_shards(
                partition, tasks, preprocess_shard, grant, plugin.workers, turn or job.Turn()
            )
    invalid = check_invalid(spec, partition, partition.invalid)
    rows = [row for row, _ in invalid]
    quarantined = _quarantined(index.part(part), stage.name, rows) if rows else {}
    settle(partition, receipt, quarantined, patience_seconds)
    return partition


def _quarantined(path: Path, modality: str, rows: list[int]) -> dict[str, list[Any]]:
    """Key and cell of these rows, which ascend; a row group of the index is held at a time."""
    table = IndexPart(path)
    found: dict[str, list[Any]] = {"key": [], "cell": []}
    wanted = iter(rows)
    row = next(wanted, None)
    first = table.first
    for cells in table.batches(["key", modality]):
        stop = first + len(cells["key"])
        while row is not None and row < stop:
            found["key"].append(cells["key"][row - first])
            found["cell"].append(_shown(cells[modality][row - first]))
            row = next(wanted, None)
        first = stop
    return found


def choose_layout(spec: dict[str, Any], plugin: Modality) -> Layout:
    """
    The canonical array first, then `length` where there is one, and the source bytes' digests.
    """
    stage = job.stage_of(spec["stage"])
    specs = {stage.name: plugin.array()}
    if plugin.has_length:
        specs["length"] = LENGTH
    specs["digest"] = DIGEST
    return layouts.choose(
        stage.digest,
        specs,
        spec["rows_per_job"],
        capacity=spec["capacity"],
        rows_per_shard=spec.get("rows_per_shard"),
    )


def _key(spec: dict[str, Any], modality: str, table: IndexPart, rows: range) -> str:
    cells = table.read(["root", "reason", modality], rows)
    versions = (table.versions[number] for number in cells["root"])
    lines = map(cell_line, versions, cells[modality], cells["reason"])
    return digest_lines([spec["stage"]["digest"], str(rows.start), *lines])


def _shown(cell: str | bytes | None) -> str:
    return "" if cell is None else cell[:200] if isinstance(cell, str) else f"{len(cell):,} bytes"


# In a worker --------------------------------------------------------------------------------------


@cache
def _plugin(settings: str) -> Modality:
    import json

    found: Modality = plugins.make("modalities", json.loads(settings), "modality")
    return found


class Decoder:
    """Rows of one shard, from the index to decoded arrays."""

    def __init__(self, task: ShardTask) -> None:
        from sampan.sources.files import SampleFiles

        self.task = task
        self.plugin = _plugin(plan.canonical(task.spec["modality"]))
        stage = job.stage_of(task.spec["stage"])
        index = IndexFolder(Path(task.results) / stage.dataset / "index")
        table = IndexPart(index.part(task.part))
        self.cells = table.read(["root", "reason", stage.name], range(task.first, task.stop))
        self.column = self.cells[stage.name]
        self.is_path = (task.spec["cell"] or self.plugin.cell) == "path"
        self.files = SampleFiles(table.roots, self.plugin.max_bytes, task.patience_seconds)
        self.missing: list[tuple[int, str]] = []

    def source_bytes(self, i: int) -> bytes:
        """The bytes of the shard's i-th sample; `InvalidSample` where there are none."""
        if reason := self.cells["reason"][i]:
            raise InvalidSample(reason)
        cell = self.column[i]
        if cell is None or cell == "":
            raise InvalidSample("empty cell")
        if isinstance(cell, bytes):
            return cell
        if not self.is_path:
            data: bytes = cell.encode()
            return data
        try:
            return self.files.read(self.cells["root"][i], cell)
        except InvalidSample as verdict:
            if str(verdict) == "missing file":
                self.missing.append((self.cells["root"][i], cell))
            raise

    def refuse_bad_storage(self) -> None:
        """
        Files that were missing because storage was away do not count as bad data.

        It was where one of them is back by now, where one that could be read is gone, and where
        most are missing together with their folders.
        """
        from sampan.sources.files import missing_folders

        if not self.missing:
            return
        share = max(MISSING_SHARE, self.task.spec["max_invalid"])
        many = len(self.missing) > share * len(self.column)
        if many and missing_folders(self.files, self.missing):
            raise StorageError(
                f"{len(self.missing):,} of {len(self.column):,} files of a shard are missing, "
                f"and their folders too, such as {self.missing[0][1]}; is the source mounted?"
            ) from OSError(errno.ENODEV, "folders are missing")
        named = [self.files.roots[source] / cell for source, cell in self.missing]
        moved = [path for path in named if path.exists()]
        moved += [path for path in self.files.witnesses.values() if not path.exists()]
        if moved:
            raise StorageError(
                f"files come and go while they are read, such as {moved[0]}; is the source mounted?"
            ) from OSError(errno.ENODEV, "files come and go")


def preprocess_shard(task: ShardTask) -> Record:
    """Decode, write, publish one shard; returns its record, which the caller appends."""
    import contextlib

    import numpy as np

    from sampan.store.shard import ShardWriter

    variant = job.variant_of(Path(task.results), task.spec["stage"])
    layout = Layout.from_json(read_json(variant.layout))
    done = recorded(variant, layout, task.shard, task.key)
    if done is not None:
        return done
    decoder = Decoder(task)
    name = layout.main
    block = layout.arrays[name].rows_per_chunk
    temporaries = {
        array: variant.temporary_shard(array, task.shard)
        for array in layout.arrays
        if array != "valid"
    }
    invalid: list[tuple[int, str]] = []
    notes: Counter[str] = Counter()
    poison = dict(task.poison)
    rows = task.stop - task.first
    with contextlib.ExitStack() as stack:
        writers = {
            array: stack.enter_context(ShardWriter(path, layout.arrays[array]))
            for array, path in temporaries.items()
        }
        digests = np.zeros((rows, 16), np.uint8)
        lengths = np.zeros(rows, np.int32)
        for start in range(0, rows, block):
            spec = layout.arrays[name].spec
            out = np.zeros((min(block, rows - start), *spec.shape), spec.dtype)
            for i in range(start, start + len(out)):
                try:
                    data = decoder.source_bytes(i)
                    digests[i] = np.frombuffer(content_hash(data), np.uint8)
                    if task.first + i in poison:
                        raise InvalidSample(poison[task.first + i])
                    with cpu_seconds_at_most(decoder.plugin.workers):
                        decoded = decoder.plugin.decode(data, out[i - start])
                    lengths[i] = decoded.length or 0
                    notes.update(decoded.notes)
                except InvalidSample as verdict:
                    out[i - start] = 0
                    invalid.append((task.first + i, str(verdict)))
            writers[name].write(out)
        writers["digest"].write(digests)
        if "length" in writers:
            writers["length"].write(lengths)
        decoder.refuse_bad_storage()
        files = {array: writer.close()._asdict() for array, writer in writers.items()}
    publish(variant, layout, task.shard, temporaries)
    return Record(
        shard=task.shard,
        key=task.key,
        rows=rows,
        files=files,
        invalid=invalid,
        notes=dict(notes),
        content=digest_lines([digests.tobytes().hex()]),
    )


def probe(task: ShardTask) -> Iterator[int]:
    """Decode the rows one by one and say before each which it is; for a process that may die."""
    import numpy as np

    decoder = Decoder(task)
    spec = decoder.plugin.array()
    out = np.zeros(spec.shape, spec.dtype)
    for i in range(task.stop - task.first):
        row = task.first + i
        if row in task.poison_dict():
            continue
        try:
            data = decoder.source_bytes(i)
            yield row
            with cpu_seconds_at_most("processes"):
                decoder.plugin.decode(data, out)
        except InvalidSample:
            continue
