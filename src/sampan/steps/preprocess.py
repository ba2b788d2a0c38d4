"""
Decode one modality of one partition into its canonical array, a shard at a time.

A sample that cannot be decoded keeps its row, is marked not valid, and stands in the quarantine
with its reason. Shards that are recorded are adopted; only the others are made.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sampan import memory, plan, plugins
from sampan.compute import Grant
from sampan.errors import InvalidSample
from sampan.plugins import ArraySpec, Modality
from sampan.steps.decoding import DIGEST, quarantined, shard_key
from sampan.steps.flags import add_flags, grant_of, stage_of, variant_of
from sampan.steps.limits import cpu_seconds_at_most
from sampan.steps.shards import Made, ShardTask, check_invalid, make_shards, settle
from sampan.steps.timings import WAIT, Timings
from sampan.steps.turn import Turn, take_turn_at_part
from sampan.store import layout as layouts
from sampan.store.documents import CellsReceipt
from sampan.store.durable import PATIENCE_SECONDS, patiently, read_json
from sampan.store.index import IndexFolder, IndexPart
from sampan.store.layout import Layout
from sampan.store.ledger import Record
from sampan.store.partition import Partition
from sampan.store.variant import Variant, publish, temporary_shard

LENGTH = ArraySpec((), (), "int32")


def arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, part=True, grant=True)


def run(args: argparse.Namespace) -> None:
    grant, patience = grant_of(args), args.patience_seconds
    with take_turn_at_part(args, "preprocess") as turn:
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
    patience_seconds: float = PATIENCE_SECONDS,
    turn: Turn | None = None,
) -> Partition:
    """Make all shards of a partition that are not recorded yet, then its receipt."""
    stage = stage_of(spec["stage"])
    variant = variant_of(results, spec["stage"])
    index = IndexFolder(results / stage.dataset / "index")
    above = read_json(index.receipt(stage.name, part), CellsReceipt)
    plugin: Modality = plugins.make("modalities", spec["modality"], stage.name)
    layout = layouts.pin(variant.layout, choose_layout(spec, plugin))
    turn = turn or Turn()
    outbox = turn.outbox(variant.path)
    partition = Partition(
        variant, layout, part, above["first"], above["rows"], above["keys"], outbox
    )
    if partition.rows:
        table = IndexPart(index.part(part))
        keys = {shard: shard_key(spec, stage.name, table, partition.rows_of(shard))
                for shard in partition.shards}  # fmt: skip
        todo = partition.adopt(keys)
        if todo:
            needed = memory.modality_mb(plugin, grant.threads)
            grant.need(needed, f"preprocess {stage.name}", memory.advice_on(plugin))
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
                    outbox=str(outbox),
                    patience_seconds=patience_seconds,
                )
                for shard in todo
            ]
            make_shards(partition, tasks, preprocess_shard, grant, plugin.workers, turn)
    invalid = check_invalid(spec, partition, partition.invalid)
    columns = quarantined(index.part(part), stage.name, [row for row, _ in invalid])
    settle(partition, receipt, columns, patience_seconds)
    return partition


def choose_layout(spec: dict[str, Any], plugin: Modality) -> Layout:
    """
    The canonical array first, then `length` where there is one, and the source bytes' digests.
    """
    stage = stage_of(spec["stage"])
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


# In a worker --------------------------------------------------------------------------------------


def preprocess_shard(task: ShardTask) -> Made:
    """Decode, write, publish one shard; returns its record, which the caller appends."""
    variant = variant_of(Path(task.results), task.spec["stage"])
    layout = Layout.read(variant.layout)
    timings = Timings()
    with timings.on({"read": 1, "decode": 1, "write": 1, WAIT: 1}):
        return Made(_make(task, variant, layout, timings), timings)


def _make(task: ShardTask, variant: Variant, layout: Layout, timings: Timings) -> Record:
    import contextlib

    from sampan.steps.decoding import Decoding, plugin_of
    from sampan.store.shard import ShardWriter

    workers = plugin_of(plan.canonical(task.spec["modality"])).workers
    shard = Decoding(task, timings, workers)
    name = layout.main
    temporaries = {
        array: temporary_shard(Path(task.outbox), array, task.shard)
        for array in layout.arrays
        if array != "valid"
    }
    with contextlib.ExitStack() as stack:
        writers = {
            array: stack.enter_context(ShardWriter(path, layout.arrays[array]))
            for array, path in temporaries.items()
        }
        rows_at_once = layout.arrays[name].rows_per_chunk
        blocks = shard.ahead(rows_at_once, threads=1, most_bytes=memory.WRITE_AHEAD_BYTES)
        with blocks:
            for block in blocks:
                shard.finish(block)
                with timings.at("write"):
                    writers[name].write(block.data)
        shard.end()
        with timings.at("write"):
            writers["digest"].write(shard.digests)
            if "length" in writers:
                writers["length"].write(shard.lengths)
            files = {array: writer.close()._asdict() for array, writer in writers.items()}
    with timings.at("write"):
        publish(variant, layout, task.shard, temporaries)
    return Record(
        shard=task.shard,
        key=task.key,
        rows=task.stop - task.first,
        files=files,
        invalid=shard.invalid,
        absent=shard.absent,
        notes=shard.notes,
        content=shard.content,
    )


def probe(task: ShardTask) -> Iterator[int]:
    """Decode the rows one by one and say before each which it is; for a process that may die."""
    import numpy as np

    from sampan.steps.decoding import Source, plugin_of

    plugin = plugin_of(plan.canonical(task.spec["modality"]))
    source = Source(task, plugin)
    spec = plugin.array()
    out = np.zeros(spec.shape, spec.dtype)
    for i in range(task.stop - task.first):
        row = task.first + i
        if row in task.poison_dict():
            continue
        try:
            found = source.read(i)
            if found is None:
                continue
            yield row
            with cpu_seconds_at_most("processes"):
                plugin.decode(found.data, out)
        except InvalidSample:
            continue
