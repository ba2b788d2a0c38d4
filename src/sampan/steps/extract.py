"""
Run one encoder over one modality of one partition, a shard at a time.

A row that is not valid in the modality is NaN and not valid here; so is one for which the encoder
gives no finite embedding.
"""

import argparse
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan import plan, plugins
from sampan.compute import Grant, Workers
from sampan.errors import ConfigError, PluginError, StorageError
from sampan.plugins import ArraySpec, Encode, Encoder, Modality
from sampan.steps import job
from sampan.steps.batches import in_batches, loading
from sampan.steps.limits import cpu_seconds_at_most
from sampan.steps.shards import ShardTask, check_invalid, make_shards, settle
from sampan.store import layout as layouts
from sampan.store.committed import chosen
from sampan.store.durable import patiently, read_json
from sampan.store.identity import digest_lines
from sampan.store.layout import Layout
from sampan.store.ledger import Record
from sampan.store.partition import Partition
from sampan.store.variant import Variant, publish, recorded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DTYPE = "float16"


def arguments(parser: argparse.ArgumentParser) -> None:
    job.arguments(parser, part=True, grant=True)


def run(args: argparse.Namespace) -> None:
    grant, patience = job.grant_of(args), args.patience_seconds
    with job.turn_at_part(args, "extract") as turn:
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
    patience_seconds: float = job.PATIENCE_SECONDS,
    turn: job.Turn | None = None,
) -> Partition:
    """Make all shards of a partition that are not recorded yet, then its receipt."""
    variant = job.variant_of(results, spec["stage"])
    source = job.variant_of(results, spec["above"])
    upstream = read_json(source.receipt(part))
    if upstream["rows"] == 0 and not variant.layout.exists():
        return _nothing(spec, variant, part, upstream, receipt, patience_seconds)
    source_layout = Layout.from_json(read_json(source.layout))
    layout = _layout(spec, variant, grant)
    partition = Partition(
        variant, layout, part, upstream["first"], upstream["rows"], upstream["keys"]
    )
    if partition.rows:
        keys = _keys(spec, partition, source, source_layout, upstream)
        todo = partition.adopt(keys)
        if todo:
            _check_memory(spec, variant, grant)
            workers: Workers = _encoder(plan.canonical(spec["encoder"])).workers
            device = grant.device(spec["device"]) if workers == "one" else "cpu"
            if device == "cuda":
                workers = "gpus"
            tasks = [
                ShardTask(
                    step="extract",
                    spec=spec,
                    results=str(results),
                    part=part,
                    shard=shard,
                    first=partition.rows_of(shard).start,
                    stop=partition.rows_of(shard).stop,
                    key=keys[shard],
                    patience_seconds=patience_seconds,
                    device=device,
                )
                for shard in todo
            ]
            make_shards(partition, tasks, extract_shard, grant, workers, turn)
    above = _invalid_above(spec)
    check_invalid(spec, partition, [item for item in partition.invalid if item[1] != above])
    settle(partition, receipt, {}, patience_seconds)
    return partition


def _nothing(
    spec: dict[str, Any],
    variant: Variant,
    part: int,
    upstream: dict[str, Any],
    receipt: Path,
    patience_seconds: float,
) -> Partition:
    """A partition beyond the data loads no encoder; the layout is left to those that have rows."""
    empty = Layout(
        settings=spec["stage"]["digest"],
        rows_per_part=spec["rows_per_job"],
        rows_per_shard=spec["rows_per_job"],
        arrays={"valid": layouts.valid_layout(spec["rows_per_job"])},
    )
    partition = Partition(variant, empty, part, upstream["first"], 0, upstream["keys"])
    settle(partition, receipt, {}, patience_seconds)
    return partition


def _layout(spec: dict[str, Any], variant: Variant, grant: Grant) -> Layout:
    """The pinned layout; where there is none yet, the encoder is loaded to learn its dimensions."""
    stage = job.stage_of(spec["stage"])
    name = stage.name.partition(".")[2]
    if variant.layout.exists():
        dimensions = Layout.from_json(read_json(variant.layout)).arrays[name].spec.shape[0]
    else:
        _check_memory(spec, variant, grant)
        dimensions = _load(spec, "cpu").dimensions
        _loaded.cache_clear()  # the workers load their own
    return layouts.pin(variant.layout, choose_layout(spec, dimensions))


def choose_layout(spec: dict[str, Any], dimensions: int) -> Layout:
    """The embeddings' array, of so many dimensions."""
    stage = job.stage_of(spec["stage"])
    return layouts.choose(
        stage.digest,
        {stage.name.partition(".")[2]: ArraySpec(("embedding",), (dimensions,), DTYPE)},
        spec["rows_per_job"],
        capacity=spec["capacity"],
        rows_per_shard=spec.get("rows_per_shard"),
    )


def _check_memory(spec: dict[str, Any], variant: Variant, grant: Grant) -> None:
    encoder = _encoder(plan.canonical(spec["encoder"]))
    needed = plan.encoder_mb(encoder, grant.threads, grant.gpus)
    grant.need(needed, f"extract {variant.path.name}")


def _keys(
    spec: dict[str, Any],
    partition: Partition,
    source: Variant,
    source_layout: Layout,
    upstream: dict[str, Any],
) -> dict[int, str]:
    """
    What each shard is made of: the settings, its rows, and the upstream shards that hold them.
    """
    records, faults = chosen(source, source_layout, upstream)
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
    return keys


def _invalid_above(spec: dict[str, Any]) -> str:
    return f"{job.stage_of(spec['above']).name} is not valid"


# In a worker --------------------------------------------------------------------------------------


@cache
def _encoder(settings: str) -> Encoder:
    import json

    found: Encoder = plugins.make("encoders", json.loads(settings), "encoder")
    return found


@cache
def _loaded(encoder: str, modality: str, device: str) -> Encode:
    import json

    plugin = _encoder(encoder)
    stored: Modality = plugins.make("modalities", json.loads(modality), "modality")
    if faults := plugin.check(stored):
        raise ConfigError(faults)
    with loading("extract", device):
        return plugin.load(stored, device)


def _load(spec: dict[str, Any], device: str) -> Encode:
    """The encoder, loaded once in each process."""
    return _loaded(plan.canonical(spec["encoder"]), plan.canonical(spec["modality"]), device)


class Rows:
    """Rows of one shard, as the modality stored them."""

    def __init__(self, task: ShardTask) -> None:
        from sampan.store.read import Reader

        source = job.variant_of(Path(task.results), task.spec["above"])
        layout = Layout.from_json(read_json(source.layout))
        self._first = task.first

        def rows(array: str) -> "NDArray[Any]":
            reader = Reader(source.data / array, layout.arrays[array])
            return reader.rows(task.first, task.stop)

        self.data = rows(layout.main)
        self.length = rows("length") if "length" in layout.arrays else None
        self.valid = rows("valid").copy()

    def encode(self, encode: Encode, chosen: "NDArray[np.intp]") -> "NDArray[np.float32]":
        """(row) places within the shard → (row, embedding)."""
        length = None if self.length is None else self.length[chosen]
        return encode(self.data[chosen], length)


def extract_shard(task: ShardTask) -> Record:
    """Encode, write, publish one shard; returns its record, which the caller appends."""
    import numpy as np

    from sampan.store.shard import ShardWriter

    variant = job.variant_of(Path(task.results), task.spec["stage"])
    layout = Layout.from_json(read_json(variant.layout))
    done = recorded(variant, layout, task.shard, task.key)
    if done is not None:
        return done
    name = layout.main
    shape = layout.arrays[name].spec.shape
    rows = Rows(task)
    encode = _load(task.spec, task.device)
    encoder = _encoder(plan.canonical(task.spec["encoder"]))
    out = np.full((task.stop - task.first, *shape), np.nan, DTYPE)
    invalid = {int(task.first + i): _invalid_above(task.spec) for i in np.flatnonzero(~rows.valid)}
    for row, reason in task.poison:
        rows.valid[row - task.first] = False
        invalid[row] = reason
    usable = np.flatnonzero(rows.valid)
    what = f"extract {variant.path.name}"
    for start in range(0, len(usable), encoder.batch):
        chosen_rows = usable[start : start + encoder.batch]
        with cpu_seconds_at_most(encoder.workers), np.errstate(over="ignore"):
            found = in_batches(partial(rows.encode, encode), chosen_rows, what, task.device)
            if found.shape != (len(chosen_rows), *shape):
                raise PluginError(
                    f"encoders {task.spec['encoder']['kind']!r}: gave embeddings {found.shape} for "
                    f"{len(chosen_rows)} rows of {shape[0]} dimensions"
                )
            out[chosen_rows] = found
        for i in np.flatnonzero(~np.isfinite(out[chosen_rows]).all(axis=1)):
            at = chosen_rows[i]
            reason = "is beyond float16" if np.isfinite(found[i]).all() else "is not finite"
            invalid[int(task.first + at)] = f"the embedding {reason}"
            out[at] = np.nan
    temporary = variant.temporary_shard(name, task.shard)
    with ShardWriter(temporary, layout.arrays[name]) as writer:
        writer.write(out)
        files = {name: writer.close()._asdict()}
    publish(variant, layout, task.shard, {name: temporary})
    return Record(
        shard=task.shard,
        key=task.key,
        rows=task.stop - task.first,
        files=files,
        invalid=sorted(invalid.items()),
    )


def probe(task: ShardTask) -> Iterator[int]:
    """Encode the rows one by one and say before each which it is; for a process that may die."""
    import numpy as np

    rows = Rows(task)
    encode = _load(task.spec, task.device)
    poison = task.poison_dict()
    for i in np.flatnonzero(rows.valid):
        row = int(task.first + i)
        if row not in poison:
            yield row
            with cpu_seconds_at_most("processes"):
                rows.encode(encode, np.array([i]))
