"""Make one shard in a worker: open, transform, write, publish."""

import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.execution.shard_job import Made, ShardRows, ShardTask
from sampan.execution.timings import Timings
from sampan.store.layout import Layout
from sampan.store.ledger import Record
from sampan.store.variant import Variant, publish, temporary_shard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sampan.store.shard import ShardWriter


def make_shard(task: ShardTask) -> Made:
    """The shard's files are durable then; its record is for the caller to append."""
    layout = Layout.read(Variant.of(task.results, task.job.stage).layout)
    task.maker.prepare(task)
    timings = Timings()
    with timings.on(task.maker.threads(task)):
        return Made(_make(task, layout, timings), timings)


def _make(task: ShardTask, layout: Layout, timings: Timings) -> Record:
    from sampan.store.shard import ShardWriter

    rows = task.maker.upstream.open(task, timings)
    temporaries: dict[str, Path] = {
        array: temporary_shard(task.outbox, array, task.shard)
        for array in layout.arrays
        if array != "valid"
    }
    with contextlib.ExitStack() as stack:
        writers = {
            array: stack.enter_context(ShardWriter(path, layout.arrays[array]))
            for array, path in temporaries.items()
        }
        write = partial(_write, writers[layout.main], timings)
        without = task.maker.make(task, rows, layout, write, timings)
        rows.end()
        with timings.at("write"):
            for array, values in rows.arrays().items():
                if array in writers:
                    writers[array].write(values)
            files = {array: writer.close()._asdict() for array, writer in writers.items()}
    with timings.at("write"):
        publish(Variant.of(task.results, task.job.stage), layout, task.shard, temporaries)
    return _record(task, rows, without, files)


def _write(writer: "ShardWriter", timings: Timings, rows: "NDArray[Any]") -> None:
    with timings.at("write"):
        writer.write(rows)


def _record(
    task: ShardTask, rows: ShardRows, without: Mapping[int, str], files: dict[str, dict[str, Any]]
) -> Record:
    own = dict(task.maker.upstream.own_faults(tuple(without.items())))
    found = {row: own.get(row, f"found here: {reason}") for row, reason in without.items()}
    return Record(
        shard=task.shard,
        key=task.key,
        rows=task.stop - task.first,
        files=files,
        invalid=sorted({**rows.invalid, **found}.items()),
        absent=list(rows.absent),
        notes=dict(rows.notes),
        content=rows.content,
    )
