"""
List the samples of one partition: keys, cells, labels, groups, from the places that the scan found.

A receipt for each modality, and one for the other columns, say what changed: new labels change no
modality's receipt, so that nothing is decoded or extracted again.
"""

import argparse
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sampan import plugins
from sampan.errors import DataError
from sampan.plugins import Cells
from sampan.steps import job
from sampan.store.durable import read_json, write_json
from sampan.store.identity import content_hash, digest_lines
from sampan.store.index import ROWS_PER_GROUP, IndexFolder


def arguments(parser: argparse.ArgumentParser) -> None:
    job.arguments(parser)
    parser.add_argument("--part", type=int, required=True, help="number of the partition")


def run(args: argparse.Namespace) -> None:
    folder = IndexFolder(args.results / args.spec["dataset"] / "index")
    index_part(args.spec, folder, args.part)


def index_part(spec: dict[str, Any], folder: IndexFolder, part: int) -> None:
    """Write one partition's Parquet file and its receipts."""
    plan = read_json(folder.plan(part))
    columns = tuple(dict.fromkeys((*spec["columns"].values(), *spec["modalities"].values())))
    roots, root_numbers = _roots(spec, plan)
    table: dict[str, list[Any]] = {"key": [], "root": [], "reason": []}
    table |= {name: [] for name in (*spec["columns"], *spec["modalities"])}
    for piece, number in zip(plan["pieces"], root_numbers, strict=True):
        for cells in _read(spec, piece, columns):
            table["key"] += cells.keys
            table["root"] += [number] * len(cells.keys)
            table["reason"] += cells.reasons
            for name, column in spec["columns"].items():
                table[name] += map(_text, cells.columns[column])
            for name, column in spec["modalities"].items():
                table[name] += map(_cell, cells.columns[column])
    if len(table["key"]) != plan["rows"]:
        raise DataError(
            f"datasets.{spec['dataset']}: partition {part} has {len(table['key']):,} rows; "
            f"the scan found {plan['rows']:,}; a source changed meanwhile: run make update"
        )
    for row, why in plan["refused"].items():
        table["reason"][int(row) - plan["first"]] = why
    _write(folder.part(part), table, spec, plan["first"], roots)
    _write_receipts(folder, part, spec, plan, table, roots)
    job.log.info("index %s part %d: %s samples", spec["dataset"], part, f"{plan['rows']:,}")


def _roots(spec: dict[str, Any], plan: dict[str, Any]) -> tuple[list[dict[str, Any]], list[int]]:
    """The folders that cells are relative to, with their source's version; and each piece's."""
    roots: list[dict[str, Any]] = []
    numbers = []
    for piece in plan["pieces"]:
        number = piece["source"]
        source = plugins.make("sources", spec["sources"][number], f"source.{number}")
        root = {
            "path": str(source.root_of(Path(piece["file"]))),
            "version": spec["versions"][number],
        }
        if root not in roots:
            roots.append(root)
        numbers.append(roots.index(root))
    return roots, numbers


def _read(spec: dict[str, Any], piece: dict[str, Any], columns: tuple[str, ...]) -> Iterator[Cells]:
    """The rows of one piece of a source."""
    number = piece["source"]
    source = plugins.make("sources", spec["sources"][number], f"source.{number}")
    skip, left = piece["skip"], piece["rows"]
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


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _cell(value: Any) -> str | bytes | None:
    if value is None or isinstance(value, str | bytes):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _write(
    path: Path,
    table: dict[str, list[Any]],
    spec: dict[str, Any],
    first: int,
    roots: list[dict[str, Any]],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sampan.store.durable import fsync_folder

    arrays = {}
    for name, values in table.items():
        binary = any(isinstance(value, bytes) for value in values)
        kind = pa.int16() if name == "root" else pa.binary() if binary else pa.string()
        arrays[name] = pa.array(values, kind)
    about = json.dumps({"first": first, "roots": roots, "dataset": spec["dataset"]})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with temporary.open("wb") as file:
        pq.write_table(
            pa.table(arrays).replace_schema_metadata({"sampan": about}),
            file,
            row_group_size=ROWS_PER_GROUP,
        )
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    fsync_folder(path.parent)


def _write_receipts(
    folder: IndexFolder,
    part: int,
    spec: dict[str, Any],
    plan: dict[str, Any],
    table: dict[str, list[Any]],
    roots: list[dict[str, Any]],
) -> None:
    about = {"part": part, "first": plan["first"], "rows": plan["rows"], "keys": plan["keys"]}
    versions = [roots[number]["version"] for number in table["root"]]
    for name in spec["modalities"]:
        lines = itertools.starmap(
            cell_line, zip(versions, table[name], table["reason"], strict=True)
        )
        write_json(folder.receipt(name, part), about | {"digest": digest_lines(lines)})
    others = {
        name: digest_lines(repr(value) for value in table[name])
        for name in (*spec["columns"], "reason")
    }
    write_json(folder.receipt("columns", part), about | {"columns": others})


def cell_line(version: int, cell: str | bytes | None, reason: str | None) -> str:
    """What a modality's step reads of one row, as text to be digested."""
    shown = content_hash(cell).hex() if isinstance(cell, bytes) else cell
    return json.dumps([version, shown, reason])
