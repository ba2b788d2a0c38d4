"""
List the samples of one partition: keys, cells, labels, groups, from the places that the scan found.

A receipt for each modality, and one for the other columns, say what changed: new labels change no
modality's receipt, so that nothing is decoded or extracted again.
"""

import argparse
import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from sampan import plugins
from sampan.errors import DataError
from sampan.plugins import Cells, Source
from sampan.steps import job
from sampan.steps.folded import Folded
from sampan.store.documents import PartPlan, PlanPiece
from sampan.store.durable import fsync_folder, patiently, storing, write_json
from sampan.store.identity import content_hash, digest_lines, joined, key_hash
from sampan.store.index import ROWS_PER_GROUP, IndexFolder

Rows = dict[str, list[Any]]
"""Index column → its values."""


def arguments(parser: argparse.ArgumentParser) -> None:
    job.arguments(parser, patience=True)
    parser.add_argument("--part", type=int, required=True, help="number of the partition")


def run(args: argparse.Namespace) -> None:
    folder = IndexFolder(args.results / args.spec["dataset"] / "index")
    index_part(args.spec, folder, args.part, args.patience_seconds)


def index_part(
    spec: dict[str, Any],
    folder: IndexFolder,
    part: int,
    patience_seconds: float = job.PATIENCE_SECONDS,
) -> None:
    """Write one partition's Parquet file, a row group at a time, and its receipts."""
    plan = folder.plan_of(part, len(job.partitions(spec)))
    what = f"index {spec['dataset']} part {part}"
    binary: set[str] = set()
    while True:
        try:
            digests, folded = patiently(
                lambda: _write_part(folder.part(part), spec, plan, binary), patience_seconds, what
            )
            break
        except _BytesFound as found:
            binary.add(found.column)
    about = {"part": part, "first": plan["first"], "rows": plan["rows"], "keys": plan["keys"]}
    for name in spec["modalities"]:
        write_json(folder.receipt(name, part), about | {"digest": digests[name]})
    others = {name: digests[name] for name in (*spec["columns"], "reason")}
    noted = {"folded": folded.about} if folded.about else {}
    write_json(folder.receipt("columns", part), about | {"columns": others} | noted)
    folded.log(what)
    job.log.info("%s: %s samples", what, f"{plan['rows']:,}")


class _BytesFound(Exception):
    """A modality's cells hold bytes, and so must be stored as such from the first row on."""

    def __init__(self, column: str) -> None:
        self.column = column
        super().__init__(column)


def _write_part(
    path: Path, spec: dict[str, Any], plan: PartPlan, binary: set[str]
) -> tuple[dict[str, str], Folded]:
    """
    The Parquet file, with `binary` columns as bytes; returns a digest for each column, and what
    labels were written in another form.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    roots, numbers = _roots(spec, plan)
    versions = [root["version"] for root in roots]
    kinds = {"root": pa.int16()} | dict.fromkeys(binary, pa.binary())
    names = ["key", "root", "reason", *spec["columns"], *spec["modalities"]]
    about = json.dumps({"first": plan["first"], "roots": roots, "dataset": spec["dataset"]})
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names], {"sampan": about})
    hashes, folded = bytearray(), Folded()
    digests: dict[str, list[str]] = {
        name: [] for name in ("reason", *spec["columns"], *spec["modalities"])
    }
    with _whole(path) as file, pq.ParquetWriter(file, schema) as writer:
        for rows in _groups(spec, plan, numbers, folded):
            _check_types(spec, rows, binary)
            writer.write_table(pa.table(rows, schema), ROWS_PER_GROUP)
            hashes += b"".join(map(key_hash, rows["key"]))
            for name, digest in group_digests(rows, versions, spec).items():
                digests[name].append(digest)
        if joined(memoryview(hashes)) != plan["keys"]:
            raise DataError(
                f"datasets.{spec['dataset']}: rows {plan['first']:,} to "
                f"{plan['first'] + plan['rows'] - 1:,} are no longer those that the scan found; "
                "a source changed meanwhile: run make update"
            )
    return {name: digest_lines(lines) for name, lines in digests.items()}, folded


def group_digests(rows: Rows, versions: list[int], names: Mapping[str, Any]) -> dict[str, str]:
    """
    A digest for each of the `columns` and `modalities` of a group of rows; `versions` are those of
    the roots. A column's digest is that over its groups' digests.
    """
    found = {name: digest_lines(map(_shown, rows[name])) for name in ("reason", *names["columns"])}
    row_versions = [versions[number] for number in rows["root"]]
    for name in names["modalities"]:
        found[name] = digest_lines(map(cell_line, row_versions, rows[name], rows["reason"]))
    return found


def _roots(spec: dict[str, Any], plan: PartPlan) -> tuple[list[dict[str, Any]], list[int]]:
    """The folders that cells are relative to, with their source's version; and each piece's."""
    roots: list[dict[str, Any]] = []
    numbers = []
    for piece in plan["pieces"]:
        folder = _source(spec, piece).root_of(Path(piece["file"]))
        root = {"path": str(folder), "version": piece["version"]}
        root |= {"allow": piece["allow"]} if piece.get("allow") else {}
        if root not in roots:
            roots.append(root)
        numbers.append(roots.index(root))
    return roots, numbers


def _source(spec: dict[str, Any], piece: PlanPiece) -> Source:
    where = f"datasets.{spec['dataset']}.source.{piece['source']}"
    found: Source = plugins.make("sources", piece["settings"], where)
    return found


def _groups(
    spec: dict[str, Any], plan: PartPlan, numbers: list[int], folded: Folded
) -> Iterator[Rows]:
    """The partition's rows, in groups of as many as the index keeps together."""
    refused = {int(row) - plan["first"]: why for row, why in plan["refused"].items()}
    columns = tuple(dict.fromkeys((*spec["columns"].values(), *spec["modalities"].values())))
    names = ["key", "root", "reason", *spec["columns"], *spec["modalities"]]
    waiting: Rows = {name: [] for name in names}
    row = 0
    for piece, number in zip(plan["pieces"], numbers, strict=True):
        for cells in _read(spec, piece, columns):
            for i, reason in enumerate(cells.reasons, row):
                waiting["reason"].append(refused.get(i, reason))
            row += len(cells.keys)
            waiting["key"] += cells.keys
            waiting["root"] += [number] * len(cells.keys)
            for name, column in spec["columns"].items():
                waiting[name] += folded(name, cells.columns[column])
            for name, column in spec["modalities"].items():
                waiting[name] += map(stored, cells.columns[column])
            while len(waiting["key"]) >= ROWS_PER_GROUP:
                yield {name: values[:ROWS_PER_GROUP] for name, values in waiting.items()}
                waiting = {name: values[ROWS_PER_GROUP:] for name, values in waiting.items()}
    if waiting["key"]:
        yield waiting


def _read(spec: dict[str, Any], piece: PlanPiece, columns: tuple[str, ...]) -> Iterator[Cells]:
    """The rows of one piece of a source."""
    skip, left = piece["skip"], piece["rows"]
    source = _source(spec, piece)
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


def stored(value: Any) -> str | bytes | None:
    """A modality's cell as the index keeps it: a list of texts is joined, other lists are JSON."""
    if value is None or isinstance(value, str | bytes):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return None if value != value else str(value)


def _check_types(spec: dict[str, Any], rows: Rows, binary: set[str]) -> None:
    for name in spec["modalities"]:
        types = set(map(type, rows[name]))
        if bytes in types and name not in binary:
            raise _BytesFound(name)
        if str in types and name in binary:
            raise DataError(
                f"datasets.{spec['dataset']}.modalities.{name}: some cells hold bytes, some text; "
                "put them into datasets of their own"
            )


def cell_line(version: int, cell: str | bytes | None, reason: str | None) -> str:
    """What a modality's step reads of one row, as text to be digested."""
    shown = f"#{content_hash(cell).hex()}" if isinstance(cell, bytes) else _shown(cell)
    return f"{version} {reason or ''}\x1f{shown}"


def _shown(value: str | None) -> str:
    return "" if value is None else f"={value}"


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
