"""
List the samples of one partition: keys, cells, labels, groups, from the places that the scan found.

A receipt for each modality, and one for the other columns, say what changed: new labels change no
modality's receipt, so that nothing is decoded or extracted again.
"""

import argparse
import contextlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from sampan import plugins
from sampan.errors import DataError, InvalidSample
from sampan.events import Worked, say
from sampan.index.folded import Folded
from sampan.index.parts import (
    BYTES_SUFFIX,
    GROUP_BYTES,
    ROWS_PER_GROUP,
    IndexFolder,
    cell_line,
    value_line,
)
from sampan.plan.jobs import IndexJob
from sampan.plugins import Cells, Source
from sampan.sources.values import cell_of, label_of
from sampan.steps.flags import add_flags
from sampan.storage.durable import PATIENCE_SECONDS, fsync_folder, patiently, storing, write_json
from sampan.store.documents import PartPlan, PlanPiece
from sampan.store.identity import digest_lines, joined, key_hash

log = logging.getLogger("sampan")

T = TypeVar("T")
Rows = dict[str, list[Any]]
"""Index column → its values."""


def arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, IndexJob, patience=True)
    parser.add_argument("--part", type=int, required=True, help="number of the partition")


def run(args: argparse.Namespace) -> None:
    folder = IndexFolder(args.results / args.job.dataset / "index")
    index_part(args.job, folder, args.part, args.patience_seconds)


def index_part(
    job: IndexJob,
    folder: IndexFolder,
    part: int,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Write one partition's Parquet file, a row group at a time, and its receipts."""
    start = time.monotonic()
    plan = folder.plan_of(part, len(job.partitions))
    what = f"index {job.dataset} part {part}"
    kinds: dict[str, set[type]] = {name: set() for name in job.modalities}
    while True:
        try:
            digests, folded = patiently(
                lambda: _write_part(folder.part(part), job, plan, kinds), patience_seconds, what
            )
            break
        except _KindFound as found:
            kinds[found.column].add(found.kind)
    about = {"part": part, "first": plan["first"], "rows": plan["rows"], "keys": plan["keys"]}
    for name in job.modalities:
        write_json(folder.receipt(name, part), about | {"digest": digests[name]})
    others = {name: digests[name] for name in (*job.columns, "reason")}
    noted = {"folded": folded.about} if folded.about else {}
    write_json(folder.receipt("columns", part), about | {"columns": others} | noted)
    folded.log(what)
    say(Worked(what=what, samples=plan["rows"], seconds=time.monotonic() - start))


class _KindFound(Exception):
    """A modality's cells hold bytes, or text too, and so need such a column from the first row."""

    def __init__(self, column: str, kind: type) -> None:
        self.column, self.kind = column, kind
        super().__init__(column)


def _write_part(
    path: Path, job: IndexJob, plan: PartPlan, kinds: dict[str, set[type]]
) -> tuple[dict[str, str], Folded]:
    """
    The Parquet file, for cells of these `kinds`; returns a digest for each column, and what labels
    were written in another form.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    roots, numbers = _roots(job, plan)
    versions = [root["version"] for root in roots]
    about = json.dumps({"first": plan["first"], "roots": roots, "dataset": job.dataset})
    schema = pa.schema(
        [("key", pa.string()), ("root", pa.int16()), ("reason", pa.string())]
        + [(name, pa.string()) for name in job.columns]
        + [column for name in kinds for column in _columns(name, kinds[name])],
        {"sampan": about},
    )
    hashes, folded = bytearray(), Folded()
    digests: dict[str, list[str]] = {name: [] for name in ("reason", *job.columns, *job.modalities)}
    with _whole(path) as file, pq.ParquetWriter(file, schema) as writer:
        for rows in _groups(job, plan, numbers, folded):
            writer.write_table(pa.table(_by_kind(rows, kinds), schema), ROWS_PER_GROUP)
            hashes += b"".join(map(key_hash, rows["key"]))
            for name, digest in group_digests(rows, versions, job.columns, job.modalities).items():
                digests[name].append(digest)
        if joined(memoryview(hashes)) != plan["keys"]:
            raise DataError(
                f"datasets.{job.dataset}: rows {plan['first']:,} to "
                f"{plan['first'] + plan['rows'] - 1:,} are no longer those that the scan found; "
                "a source changed meanwhile: run make update"
            )
    return {name: digest_lines(lines) for name, lines in digests.items()}, folded


def group_digests(
    rows: Rows, versions: list[int], columns: Iterable[str], modalities: Iterable[str]
) -> dict[str, str]:
    """
    A digest for each of the `columns` and `modalities` of a group of rows; `versions` are those of
    the roots. A column's digest is that over its groups' digests.
    """
    found = {name: digest_lines(map(value_line, rows[name])) for name in ("reason", *columns)}
    row_versions = [versions[number] for number in rows["root"]]
    for name in modalities:
        found[name] = digest_lines(map(cell_line, row_versions, rows[name], rows["reason"]))
    return found


def _columns(name: str, kinds: set[type]) -> list[tuple[str, Any]]:
    """The columns of one modality's cells: text, bytes, or text and bytes beside it."""
    import pyarrow as pa

    if kinds == {str, bytes}:
        return [(name, pa.string()), (name + BYTES_SUFFIX, pa.binary())]
    return [(name, pa.binary() if bytes in kinds else pa.string())]


def _by_kind(rows: Rows, kinds: dict[str, set[type]]) -> Rows:
    """The rows with bytes beside text where there are both; `_KindFound` where none expect it."""
    found = dict(rows)
    for name, known in kinds.items():
        types = set(map(type, rows[name]))
        if bytes in types and bytes not in known:
            raise _KindFound(name, bytes)
        if str in types and known == {bytes}:
            raise _KindFound(name, str)
        if known == {str, bytes}:
            found[name] = [cell if isinstance(cell, str) else None for cell in rows[name]]
            found[name + BYTES_SUFFIX] = [
                cell if isinstance(cell, bytes) else None for cell in rows[name]
            ]
    return found


def _roots(job: IndexJob, plan: PartPlan) -> tuple[list[dict[str, Any]], list[int]]:
    """The folders that cells are relative to, with their source's version; and each piece's."""
    roots: list[dict[str, Any]] = []
    numbers = []
    for piece in plan["pieces"]:
        folder = _source(job, piece).root_of(Path(piece["file"]))
        root = {"path": str(folder), "version": piece["version"]}
        root |= {"allow": piece["allow"]} if piece.get("allow") else {}
        if root not in roots:
            roots.append(root)
        numbers.append(roots.index(root))
    return roots, numbers


def _source(job: IndexJob, piece: PlanPiece) -> Source:
    where = f"datasets.{job.dataset}.source.{piece['source']}"
    found: Source = plugins.make("sources", piece["settings"], where)
    return found


def _groups(job: IndexJob, plan: PartPlan, numbers: list[int], folded: Folded) -> Iterator[Rows]:
    """The partition's rows, in groups of as many as the index keeps together."""
    refused = {int(row) - plan["first"]: why for row, why in plan["refused"].items()}
    columns = tuple(dict.fromkeys((*job.columns.values(), *job.modalities.values())))
    names = ["key", "root", "reason", *job.columns, *job.modalities]
    waiting: Rows = {name: [] for name in names}
    row = held = 0
    for piece, number in zip(plan["pieces"], numbers, strict=True):
        for cells in _read(job, piece, columns):
            reasons = [refused.get(i, reason) for i, reason in enumerate(cells.reasons, row)]
            row += len(cells.keys)
            waiting["key"] += cells.keys
            waiting["root"] += [number] * len(cells.keys)
            for name, column in job.columns.items():
                values = cells.columns[column]
                kept = converted(label_of, name, values, reasons)
                folded.note(name, values, kept)
                waiting[name] += kept
            for name, column in job.modalities.items():
                found = converted(cell_of, name, cells.columns[column], reasons)
                held += sum(map(len, filter(None, found)))
                waiting[name] += found
            waiting["reason"] += reasons
            while len(waiting["key"]) >= ROWS_PER_GROUP or held >= GROUP_BYTES:
                yield {name: values[:ROWS_PER_GROUP] for name, values in waiting.items()}
                waiting = {name: values[ROWS_PER_GROUP:] for name, values in waiting.items()}
                held = 0
    if waiting["key"]:
        yield waiting


def converted(
    convert: Callable[[Any], T], name: str, values: list[Any], reasons: list[str | None]
) -> list[T | None]:
    """One column's values as the index keeps them; those it cannot keep get a reason."""
    try:
        return list(map(convert, values))
    except InvalidSample:
        pass
    found: list[T | None] = []
    for row, value in enumerate(values):
        try:
            found.append(convert(value))
        except InvalidSample as verdict:
            found.append(None)
            reasons[row] = reasons[row] or f"unusable {name}: {verdict}"
    return found


def _read(job: IndexJob, piece: PlanPiece, columns: tuple[str, ...]) -> Iterator[Cells]:
    """The rows of one piece of a source."""
    skip, left = piece["skip"], piece["rows"]
    source = _source(job, piece)
    for cells in source.read(Path(piece["file"]), columns, start=piece["offset"]):
        taken = slice(skip, skip + left)
        skip = max(0, skip - len(cells.keys))
        kept = Cells(
            cells.keys[taken],
            {name: values[taken] for name, values in cells.columns.items()},
            cells.reasons[taken],
            cells.offsets[taken],
        )
        left -= len(kept.keys)
        yield kept
        if left == 0:
            return


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there whole and durable when the block ends well, and otherwise not at all."""
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        opened = temporary.open("wb")
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        fsync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
