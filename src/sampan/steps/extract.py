"""
Run one encoder over one modality of one partition, a shard at a time.

A row that is not valid in the modality is NaN and not valid here; so is one for which the encoder
gives no finite embedding. Of a modality that is not stored (its spec has no `above`) the source is
decoded straight into the encoder, with the quarantine and the digests that `preprocess` would keep.
"""

import argparse
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan import memory, plan, plugins
from sampan.compute import Grant, Workers
from sampan.errors import InvalidSample, StorageError
from sampan.plugins import ArraySpec, Encode, Modality
from sampan.steps.behind import Behind
from sampan.steps.decoding import (
    DIGEST,
    Block,
    Decoding,
    Source,
    modality_of,
    plugin_of,
    quarantined,
    shard_key,
)
from sampan.steps.encoding import DTYPE, Encoding, encode_rows, rows_at_once
from sampan.steps.flags import add_flags, grant_of, stage_of, variant_of
from sampan.steps.limits import cpu_seconds_at_most
from sampan.steps.loaded_encoder import (
    LoadedEncoder,
    forget_encoders,
    load_encoder,
    make_encoder,
)
from sampan.steps.shards import Made, ShardTask, check_invalid, make_shards, settle
from sampan.steps.stored_rows import Stored
from sampan.steps.timings import WAIT, Timings
from sampan.steps.turn import Turn, take_turn_at_part
from sampan.store import layout as layouts
from sampan.store.committed import chosen
from sampan.store.documents import CellsReceipt, Receipt, Rows
from sampan.store.durable import PATIENCE_SECONDS, patiently, read_json
from sampan.store.identity import digest_lines
from sampan.store.index import IndexFolder, IndexPart
from sampan.store.layout import Layout
from sampan.store.ledger import Record
from sampan.store.partition import Partition
from sampan.store.variant import Variant, publish, temporary_shard

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, part=True, grant=True)


def run(args: argparse.Namespace) -> None:
    grant, patience = grant_of(args), args.patience_seconds
    with take_turn_at_part(args, "extract") as turn:
        work = partial(
            extract, args.spec, args.results, args.part, args.receipt, grant, patience, turn
        )
        patiently(work, patience, f"extract part {args.part}")


def extract(
    spec: dict[str, Any],
    results: Path,
    part: int,
    receipt: Path,
    grant: Grant,
    patience_seconds: float = PATIENCE_SECONDS,
    turn: Turn | None = None,
) -> Partition:
    """Make all shards of a partition that are not recorded yet, then its receipt."""
    variant = variant_of(results, spec["stage"])
    turn = turn or Turn()
    outbox = turn.outbox(variant.path)
    upstream = _upstream(spec, results, part)
    if upstream["rows"] == 0 and not variant.layout.exists():
        return _nothing(spec, variant, part, upstream, receipt, outbox, patience_seconds)
    layout = _layout(spec, variant, grant)
    partition = Partition(
        variant, layout, part, upstream["first"], upstream["rows"], upstream["keys"], outbox
    )
    if partition.rows:
        keys, absent = _keys(spec, partition, results, upstream)
        todo = partition.adopt(keys)
        if todo:
            _check_memory(spec, variant, grant)
            encoder = make_encoder(spec)
            device = grant.device(spec["device"]) if "cuda" in encoder.devices else "cpu"
            workers: Workers = "gpus" if device == "cuda" else encoder.workers
            decoded = _as_decoded(spec)
            tasks = [
                ShardTask(
                    step="extract",
                    spec=decoded,
                    results=str(results),
                    part=part,
                    shard=shard,
                    first=partition.rows_of(shard).start,
                    stop=partition.rows_of(shard).stop,
                    key=keys[shard],
                    outbox=str(outbox),
                    patience_seconds=patience_seconds,
                    device=device,
                    threads=max(1, grant.threads // grant.workers(workers)),
                    absent=_within(absent, partition.rows_of(shard)),
                )
                for shard in todo
            ]
            make_shards(partition, tasks, extract_shard, grant, workers, turn)
    above = _invalid_above(spec)
    check_invalid(spec, partition, [item for item in partition.invalid if item[1] != above])
    columns: dict[str, list[Any]] = {}
    if is_fused(spec):
        rows = [row for row, _ in partition.invalid]
        columns = quarantined(_index(spec, results).part(part), modality_of(spec), rows)
    settle(partition, receipt, columns, patience_seconds)
    return partition


def is_fused(spec: dict[str, Any]) -> bool:
    """Whether the source is decoded here, because its modality is not stored."""
    return "above" not in spec


def _index(spec: dict[str, Any], results: Path) -> IndexFolder:
    return IndexFolder(results / stage_of(spec["stage"]).dataset / "index")


def _upstream(spec: dict[str, Any], results: Path, part: int) -> Rows:
    """The receipt of what the rows are made from: the index's, or the modality's."""
    found: Rows
    if is_fused(spec):
        found = read_json(_index(spec, results).receipt(modality_of(spec), part), CellsReceipt)
    else:
        found = read_json(variant_of(results, spec["above"]).receipt(part), Receipt)
    return found


def _as_decoded(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with the settings at which the encoder has its modality decoded."""
    if not is_fused(spec):
        return spec
    where = f"datasets.{stage_of(spec['stage']).dataset}.modalities.{modality_of(spec)}"
    encoder = make_encoder(spec)
    return spec | {"modality": plugins.decide_decoding(encoder, spec["modality"], where)}


def _nothing(
    spec: dict[str, Any],
    variant: Variant,
    part: int,
    upstream: Rows,
    receipt: Path,
    outbox: Path,
    patience_seconds: float,
) -> Partition:
    """A partition beyond the data loads no encoder; the layout is left to those that have rows."""
    empty = Layout(
        settings=spec["stage"]["digest"],
        rows_per_part=spec["rows_per_job"],
        rows_per_shard=spec["rows_per_job"],
        arrays={"valid": layouts.valid_layout(spec["rows_per_job"])},
    )
    partition = Partition(variant, empty, part, upstream["first"], 0, upstream["keys"], outbox)
    settle(partition, receipt, {}, patience_seconds)
    return partition


def _layout(spec: dict[str, Any], variant: Variant, grant: Grant) -> Layout:
    """The pinned layout; where there is none yet, the encoder is loaded to learn its dimensions."""
    stage = stage_of(spec["stage"])
    name = stage.name.partition(".")[2]
    if variant.layout.exists():
        dimensions = _dimensions(variant.layout, name)
    else:
        _check_memory(spec, variant, grant)
        dimensions = load_encoder(_as_decoded(spec), "cpu").encode.dimensions
        forget_encoders()  # the workers load their own
    return layouts.pin(variant.layout, choose_layout(spec, dimensions))


def _dimensions(layout: Path, name: str) -> int:
    arrays = Layout.read(layout).arrays
    if name not in arrays or len(arrays[name].spec.shape) != 1:
        raise StorageError(f"{layout}: is damaged: no embeddings of {name}")
    return arrays[name].spec.shape[0]


def choose_layout(spec: dict[str, Any], dimensions: int) -> Layout:
    """The embeddings' array, of so many dimensions; and the source's digests if read here."""
    stage = stage_of(spec["stage"])
    specs = {stage.name.partition(".")[2]: ArraySpec(("embedding",), (dimensions,), DTYPE)}
    if is_fused(spec):
        specs["digest"] = DIGEST
    return layouts.choose(
        stage.digest,
        specs,
        spec["rows_per_job"],
        capacity=spec["capacity"],
        rows_per_shard=spec.get("rows_per_shard"),
    )


def _check_memory(spec: dict[str, Any], variant: Variant, grant: Grant) -> None:
    modality: Modality = plugins.make(
        "modalities", _as_decoded(spec)["modality"], modality_of(spec)
    )
    needed = memory.encoder_mb(
        make_encoder(spec),
        grant.threads,
        grant.gpus,
        **{"fused" if is_fused(spec) else "stored": modality},
    )
    grant.need(needed, f"extract {variant.path.name}", memory.advice_on(modality))


def _keys(
    spec: dict[str, Any], partition: Partition, results: Path, upstream: Rows
) -> tuple[dict[int, str], list[int]]:
    """
    What each shard is made of: the settings, its rows, and the upstream shards that hold them, or
    the cells that name their sources; and which rows have no value in what was stored.
    """
    if is_fused(spec):
        table = IndexPart(_index(spec, results).part(partition.part))
        return {
            shard: shard_key(spec, modality_of(spec), table, partition.rows_of(shard))
            for shard in partition.shards
        }, []
    source = variant_of(results, spec["above"])
    source_layout = Layout.read(source.layout)
    receipt = source.receipt(upstream["part"])
    records, faults = chosen(source, source_layout, read_json(receipt, Receipt))
    if faults:
        raise StorageError([*faults, "run: sampan verify --repair"])
    by_shard = {record.shard: record for record in records}
    size = source_layout.rows_per_shard
    keys = {}
    for shard in partition.shards:
        rows = partition.rows_of(shard)
        above = range(rows.start // size, -(-rows.stop // size))
        identities = [by_shard[number].identity for number in above]
        keys[shard] = digest_lines(
            [spec["stage"]["digest"], str(rows.start), str(len(rows)), *identities]
        )
    return keys, sorted(row for record in records for row in record.absent)


def _within(absent: Sequence[int], rows: range) -> tuple[int, ...]:
    return tuple(absent[bisect_left(absent, rows.start) : bisect_left(absent, rows.stop)])


def _invalid_above(spec: dict[str, Any]) -> str:
    return f"{modality_of(spec)} is not valid"


# In a worker --------------------------------------------------------------------------------------


def extract_shard(task: ShardTask) -> Made:
    """Encode, write, publish one shard; returns its record, which the caller appends."""
    variant = variant_of(Path(task.results), task.spec["stage"])
    layout = Layout.read(variant.layout)
    loaded = load_encoder(task.spec, task.device)
    timings = Timings()
    threads = {"read": 1, "encode": 1, "write": 1, WAIT: 1}
    if is_fused(task.spec):
        threads |= {"read": task.threads, "decode": task.threads}
    with timings.on(threads):
        return Made(_make(task, variant, layout, loaded, timings), timings)


def _make(
    task: ShardTask,
    variant: Variant,
    layout: Layout,
    loaded: LoadedEncoder,
    timings: Timings,
) -> Record:
    import contextlib

    from sampan.store.shard import ShardWriter

    name = layout.main
    fused = is_fused(task.spec)
    shard = Decoding(task, timings, "processes") if fused else None
    ahead_bytes = memory.AHEAD_BYTES[loaded.workers]
    if shard is not None:
        size = rows_at_once(loaded, shard.row_bytes)
        blocks = shard.ahead(size, threads=task.threads, most_bytes=ahead_bytes)
    else:
        stored = Stored(task, timings)
        size = rows_at_once(loaded, stored.row_bytes)
        blocks = stored.ahead(size, ahead_bytes)
    outbox = Path(task.outbox)
    temporaries = {array: temporary_shard(outbox, array, task.shard) for array in layout.arrays
                   if array != "valid"}  # fmt: skip
    invalid: dict[int, str] = {}
    with contextlib.ExitStack() as stack:
        writers = {
            array: stack.enter_context(ShardWriter(path, layout.arrays[array]))
            for array, path in temporaries.items()
        }

        def write(rows: "NDArray[np.float16]") -> None:
            with timings.at("write"):
                writers[name].write(rows)

        def ready() -> Iterator[Block]:
            for block in blocks:
                if shard is not None:
                    shard.finish(block)
                else:
                    invalid.update(_not_valid(task, block))
                yield block

        shape = layout.arrays[name].spec.shape
        encoding = Encoding(task, loaded, shape, timings)
        stack.callback(encoding.close)
        with Behind(write, ahead_bytes) as behind, blocks:
            for rows in encoding.of(ready()):
                behind.put(rows)
        with timings.at("write"):
            if shard is not None:
                shard.end()
                writers["digest"].write(shard.digests)
            files = {array: writer.close()._asdict() for array, writer in writers.items()}
    with timings.at("write"):
        publish(variant, layout, task.shard, temporaries)
    found = {} if shard is None else dict(shard.invalid)
    return Record(
        shard=task.shard,
        key=task.key,
        rows=task.stop - task.first,
        files=files,
        invalid=sorted((invalid | found | encoding.invalid).items()),
        absent=list(task.absent) if shard is None else shard.absent,
        notes={} if shard is None else shard.notes,
        content="" if shard is None else shard.content,
    )


def _not_valid(task: ShardTask, block: Block) -> dict[int, str]:
    """
    Rows that were there and not valid when they were stored, and those that are not to be touched.
    """
    import numpy as np

    first = task.first + block.rows.start
    without = (int(first + i) for i in np.flatnonzero(~block.valid))
    absent = set(_within(task.absent, range(first, first + len(block.rows))))
    found = {row: _invalid_above(task.spec) for row in without if row not in absent}
    for row, reason in task.poison:
        if first <= row < first + len(block.rows):
            block.valid[row - first] = False
            found[row] = reason
    return found


def probe(task: ShardTask) -> Iterator[int]:
    """
    Decode and encode the rows one by one and say before each which it is; for a process that may
    die.
    """
    import numpy as np

    encode = load_encoder(task.spec, task.device).encode
    poison = task.poison_dict()
    if is_fused(task.spec):
        yield from _probe_source(task, encode)
        return
    stored = Stored(task, Timings())
    for i in range(task.stop - task.first):
        block = stored.block(range(i, i + 1))
        row = task.first + i
        if block.valid[0] and row not in poison:
            yield row
            with cpu_seconds_at_most("processes"):
                encode_rows(encode, block, np.array([0]))


def _probe_source(task: ShardTask, encode: Encode) -> Iterator[int]:
    import numpy as np

    plugin = plugin_of(plan.canonical(task.spec["modality"]))
    source = Source(task, plugin)
    poison = task.poison_dict()
    spec = plugin.array()
    for i in range(task.stop - task.first):
        row = task.first + i
        if row in poison:
            continue
        try:
            found = source.read(i)
            if found is None:
                continue
            yield row
            out = np.zeros((1, *spec.shape), spec.dtype)
            with cpu_seconds_at_most("processes"):
                decoded = plugin.decode(found.data, out[0])
                length = np.array([decoded.length or 0], np.int32) if plugin.has_length else None
                encode(out, length)
        except InvalidSample:
            continue
