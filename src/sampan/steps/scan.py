"""
Count a dataset's samples, check their keys, and find where each partition starts in its sources.

Text tables are read once, in a stream; of Parquet only the keys. What is found is checked against
the last scan: rows that were there must not have moved.
"""

import argparse
import json
import shlex
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sampan import plugins
from sampan.compute import Grant, cluster
from sampan.errors import DataError
from sampan.steps import job
from sampan.store.durable import read_json, write_json
from sampan.store.identity import content_hash, joined, key_hash
from sampan.store.index import IndexFolder

POSITIONS_PER_PART = 16
ROWS_IN_MEMORY = 2**22
SHOWN = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    job.arguments(parser, grant=True)
    parser.add_argument(
        "--renumber", action="store_true", help="accept that rows which were there have moved"
    )


def run(args: argparse.Namespace) -> None:
    folder = IndexFolder(args.results / args.spec["dataset"] / "index")
    scan(args.spec, folder, job.grant_of(args), renumber=args.renumber, results=args.results)


class FileTask(NamedTuple):
    """One file of a source, and where its rows' hashes go."""

    spec: dict[str, Any]
    source: int
    file: Path
    hashes: Path


class FileScan(NamedTuple):
    """
    What one file holds: `positions` are (row, offset) every so many rows; `nameless` have no key.
    """

    source: int
    file: Path
    rows: int
    positions: list[tuple[int, int]]
    nameless: list[tuple[int, bool]]
    stamp: str
    hashes: Path


def scan(
    spec: dict[str, Any], folder: IndexFolder, grant: Grant, *, renumber: bool, results: Path
) -> None:
    """Write a plan for each partition that `capacity` allows, and the state for the next scan."""
    temporary = folder.path / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        files = _scan_files(_tasks(spec, temporary), grant)
        rows = sum(found.rows for found in files)
        _check_capacity(spec, rows)
        hashes = RowHashes(files)
        state = {"rows": rows, "parts": _parts(hashes, rows, spec["rows_per_job"])}
        if not renumber:
            _check_unmoved(spec, folder, hashes, rows, results)
        refused = _refused(spec, files, hashes, temporary)
        partitions = -(-spec["capacity"] // spec["rows_per_job"])
        for part in range(partitions):
            first = min(part * spec["rows_per_job"], rows)
            stop = min(first + spec["rows_per_job"], rows)
            write_json(folder.plan(part), _plan(files, hashes, refused, first, stop))
        write_json(folder.state, state)
        job.log.info(
            "scan %s: %s samples in %d files; %d of %d partitions hold data",
            spec["dataset"], f"{rows:,}", len(files), -(-rows // spec["rows_per_job"]), partitions,
        )  # fmt: skip
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _tasks(spec: dict[str, Any], temporary: Path) -> list[FileTask]:
    tasks: list[FileTask] = []
    faults: list[str] = []
    for number, settings in enumerate(spec["sources"]):
        source = plugins.make("sources", settings, f"source.{number}")
        try:
            tasks += [
                FileTask(spec, number, file, temporary / f"{number}-{i}.hashes")
                for i, file in enumerate(source.files())
            ]
        except DataError as fault:
            faults += [f"datasets.{spec['dataset']}.source.{number}: {f}" for f in fault.faults]
    if faults:
        raise DataError(faults)
    return tasks


def _scan_files(tasks: list[FileTask], grant: Grant) -> list[FileScan]:
    if len(tasks) == 1 or grant.threads == 1:
        return [scan_file(task) for task in tasks]
    found: dict[Path, FileScan] = {}
    with cluster(grant, "processes") as pool:
        for outcome in pool.run(scan_file, tasks):
            if outcome.fault:
                raise outcome.fault
            found[outcome.task.hashes] = outcome.result
    return [found[task.hashes] for task in tasks]


def scan_file(task: FileTask) -> FileScan:
    """Read one file once; its rows' key and content hashes (16 + 16 bytes a row) go to a file."""
    spec, number = task.spec, task.source
    source = plugins.make("sources", spec["sources"][number], f"source.{number}")
    stamp = source.stamp(task.file)
    columns = () if stamp else (*spec["columns"].values(), *spec["modalities"].values())
    stride = max(1, spec["rows_per_job"] // POSITIONS_PER_PART)
    rows = 0
    positions: list[tuple[int, int]] = []
    nameless: list[tuple[int, bool]] = []
    with task.hashes.open("wb") as out:
        for cells in source.read(task.file, tuple(dict.fromkeys(columns))):
            for i, key in enumerate(cells.keys):
                row = rows + i
                if row % stride == 0:
                    positions.append((row, cells.offsets[i]))
                if key == "" or cells.reasons[i]:
                    nameless.append((row, cells.reasons[i] is None))
                values = [cells.columns[name][i] for name in cells.columns]
                content = repr((key, values, cells.reasons[i])).encode("utf-8", "surrogatepass")
                out.write(key_hash(key) + content_hash(content))
            rows += len(cells.keys)
    return FileScan(number, task.file, rows, positions, nameless, stamp, task.hashes)


class RowHashes:
    """The hashes of all rows of all files, in row order, read from disk as they are asked for."""

    def __init__(self, files: list[FileScan]) -> None:
        self._maps = [
            np.memmap(file.hashes, np.uint8, "r").reshape(-1, 32) for file in files if file.rows
        ]
        self._starts = np.cumsum([0, *(len(item) for item in self._maps)])

    def read(self, first: int, stop: int) -> NDArray[np.uint8]:
        """(row, 32): 16 bytes of the key's hash, 16 of the content's."""
        pieces = [
            item[max(first - start, 0) : max(stop - start, 0)]
            for item, start in zip(self._maps, self._starts, strict=False)
            if start < stop and start + len(item) > first
        ]
        return np.concatenate([np.empty((0, 32), np.uint8), *pieces])

    def keys(self, first: int, stop: int) -> str:
        return joined(self.read(first, stop)[:, :16].tobytes())

    def content(self, first: int, stop: int) -> str:
        return joined(self.read(first, stop)[:, 16:].tobytes())


def _parts(hashes: RowHashes, rows: int, rows_per_job: int) -> list[dict[str, Any]]:
    return [
        {"first": first, "stop": stop, "keys": hashes.keys(first, stop)}
        for first in range(0, rows, rows_per_job)
        for stop in [min(first + rows_per_job, rows)]
    ]


def _check_capacity(spec: dict[str, Any], rows: int) -> None:
    if rows == 0:
        raise DataError(f"datasets.{spec['dataset']}: the sources hold no samples")
    if rows > spec["capacity"]:
        size = spec["rows_per_job"]
        jobs = -(-rows // size)
        raise DataError(
            f"datasets.{spec['dataset']}: {rows:,} samples exceed capacity: {spec['capacity']}; "
            f"set capacity: {jobs * size} ({jobs} jobs of {size:,} rows)"
        )


def _check_unmoved(
    spec: dict[str, Any], folder: IndexFolder, hashes: RowHashes, rows: int, results: Path
) -> None:
    if not folder.state.exists():
        return
    before = read_json(folder.state)
    for part in before["parts"]:
        if part["stop"] > rows or hashes.keys(part["first"], part["stop"]) != part["keys"]:
            raise DataError(
                f"datasets.{spec['dataset']}: rows {part['first']:,} to {part['stop'] - 1:,} "
                f"are no longer the samples they were ({before['rows']:,} rows then, {rows:,} "
                "now); put new data in a new entry at the end of `source`; or, to number all rows "
                f"anew and compute again what moved, run: {_renumber(spec, results)}"
            )


def _renumber(spec: dict[str, Any], results: Path) -> str:
    settings = json.dumps(spec, ensure_ascii=False)
    words = ["sampan", "scan", "--renumber", "--results", str(results), "--spec", settings]
    return shlex.join(words)


def _refused(
    spec: dict[str, Any], files: list[FileScan], hashes: RowHashes, temporary: Path
) -> dict[int, str]:
    """Row → why its key cannot be used; raises unless these are to be quarantined."""
    if spec["on_duplicate"] == "trust":
        return {}
    nameless: set[int] = set()
    empty: list[int] = []
    start = 0
    for file in files:
        nameless.update(start + row for row, _ in file.nameless)
        empty += [start + row for row, is_empty in file.nameless if is_empty]
        start += file.rows
    repeated = _duplicates(hashes, start, nameless, temporary)
    if spec["on_duplicate"] == "quarantine":
        return {row: "empty key" for row in empty} | {
            row: f"duplicate key: the same as row {first:,}" for row, first in repeated
        }
    faults = []
    where = f"datasets.{spec['dataset']}"
    if repeated:
        shown = ", ".join(f"row {row:,} (as row {first:,})" for row, first in repeated[:SHOWN])
        faults.append(
            f"{where}: {len(repeated):,} keys repeat an earlier one: {shown}"
            f"{', …' if len(repeated) > SHOWN else ''}; make keys unique, or set "
            "on_duplicate: quarantine"
        )
    if empty:
        shown = ", ".join(f"row {row:,}" for row in empty[:SHOWN])
        faults.append(
            f"{where}: {len(empty):,} keys are empty: {shown}"
            f"{', …' if len(empty) > SHOWN else ''}; fill them, or set on_duplicate: quarantine"
        )
    if faults:
        raise DataError(faults)
    return {}


def _duplicates(
    hashes: RowHashes, rows: int, skip: set[int], temporary: Path
) -> list[tuple[int, int]]:
    """
    (row, first row with this key), in row order; sorted outside memory in buckets of the hash.
    """
    buckets = -(-rows // ROWS_IN_MEMORY)
    kind = np.dtype([("hash", "<u8", 2), ("row", "<i8")])
    files = [(temporary / f"bucket-{i}").open("w+b") for i in range(buckets)]
    try:
        for first in range(0, rows, ROWS_IN_MEMORY):
            block = hashes.read(first, min(first + ROWS_IN_MEMORY, rows))[:, :16]
            entries = np.empty(len(block), kind)
            entries["hash"] = np.ascontiguousarray(block).view("<u8")
            entries["row"] = np.arange(first, first + len(block))
            bucket = entries["hash"][:, 0] % np.uint64(buckets)
            for i, file in enumerate(files):
                file.write(entries[bucket == i].tobytes())
        found: list[tuple[int, int]] = []
        for file in files:
            file.seek(0)
            found += _repeated(np.frombuffer(file.read(), kind), skip)
        return sorted(found)
    finally:
        for file in files:
            file.close()


def _repeated(entries: NDArray[Any], skip: set[int]) -> list[tuple[int, int]]:
    order = np.lexsort((entries["row"], entries["hash"][:, 1], entries["hash"][:, 0]))
    ordered = entries[order]
    same = np.all(ordered["hash"][1:] == ordered["hash"][:-1], axis=1)
    starts = np.r_[True, ~same]
    first_of = np.flatnonzero(starts)[np.cumsum(starts) - 1]
    return [
        (int(ordered["row"][i]), int(ordered["row"][first_of[i]]))
        for i in np.flatnonzero(~starts)
        if int(ordered["row"][i]) not in skip
    ]


def _plan(
    files: list[FileScan], hashes: RowHashes, refused: dict[int, str], first: int, stop: int
) -> dict[str, Any]:
    pieces = []
    start = 0
    for file in files:
        begin, end = max(first - start, 0), min(stop - start, file.rows)
        if begin < end:
            row, offset = max(item for item in file.positions if item[0] <= begin)
            pieces.append(
                {
                    "source": file.source,
                    "file": str(file.file),
                    "offset": offset,
                    "skip": begin - row,
                    "rows": end - begin,
                    "stamp": file.stamp,
                }
            )
        start += file.rows
    return {
        "first": first,
        "rows": stop - first,
        "pieces": pieces,
        "keys": hashes.keys(first, stop),
        "content": hashes.content(first, stop),
        "refused": {str(row): why for row, why in refused.items() if first <= row < stop},
    }
