"""
What is wrong with an index: the scan's files, the partitions, their receipts, `dataset.json`.

The receipts vouch for the columns of a partition, `dataset.json` for the receipts, and `scan.json`
for the plans, which may be ahead of both.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sampan.errors import StorageError
from sampan.index.parts import Index, IndexFolder, IndexPart
from sampan.operations.verify.fault import Fault
from sampan.plan.identity import digest_of
from sampan.steps.index import group_digests
from sampan.storage.durable import is_as_written, read_json
from sampan.store.documents import (
    CellsReceipt,
    Columns,
    ColumnsReceipt,
    IndexDataset,
    PartPlan,
    ScanState,
    Split,
)
from sampan.store.identity import digest_lines, keys_digest

SPLIT = "split@*.json"


def index_faults(folder: IndexFolder, deep: bool, *, is_needed: bool) -> Iterator[Fault]:
    """Everything; `is_needed` says that others were made from it, so that it has to be there."""
    path = folder.dataset
    if not path.exists():
        if is_needed:
            yield Fault(message=f"{path}: is missing; others are made from it", remade=(path,))
        return
    try:
        about = Index(folder).about
    except StorageError as fault:
        yield Fault(message=fault.faults[0], remade=(path,))
        return
    if about["dataset"] != folder.path.parent.name:
        message = f"{path}: is of the dataset {about['dataset']}; move the folder back"
        yield Fault(message=message, remade=(path,))
        return
    size = about["rows_per_job"]
    if not is_as_written(about) or not 0 <= len(about["parts"]) * size - about["capacity"] < max(
        1, size
    ):
        yield Fault(message=f"{path}: is not what was committed", remade=(path,))
        return
    partitions = range(len(about["parts"]))
    first = folder.receipt("columns", 0)
    yield from _columns_faults(folder, about, first)
    yield from _split_faults(folder, about)
    plans: dict[int, PartPlan] = {}
    for number in partitions:
        try:
            plans[number] = folder.plan_of(number, len(partitions))
        except StorageError as fault:
            own = folder.plan(number, len(partitions))
            yield Fault(message=fault.faults[0], remade=(own, folder.receipt("columns", number)))
    yield from _state_faults(folder, about, plans)
    for number, part in enumerate(about["parts"]):
        yield from _part_faults(folder, about, number, part, deep)


def _columns_faults(folder: IndexFolder, about: IndexDataset, receipt: Path) -> Iterator[Fault]:
    """One of the files says the columns; those of other settings may lie beside it."""
    right, others = False, []
    for path in sorted(folder.path.glob("columns@*.json")):
        try:
            found = read_json(path, Columns)
        except StorageError as fault:
            yield Fault(message=fault.faults[0], remade=(receipt,), stray=path)
            continue
        if found == {name: about[name] for name in ("columns", "modalities")}:
            right = True
        else:
            others.append(path)
    if not right:
        message = f"{folder.path}/columns@….json: none says which columns the index holds"
        yield Fault(message=message, remade=(receipt,))
        for path in others:
            yield Fault(message=f"{path}: says other columns", stray=path)


def _split_faults(folder: IndexFolder, about: IndexDataset) -> Iterator[Fault]:
    for path in sorted(folder.path.glob(SPLIT)):
        try:
            if read_json(path, Split)["split"] != about["split"]:
                yield Fault(
                    message=f"{path}: is not the split of dataset.json",
                    remade=(path, folder.dataset),
                )
        except StorageError as fault:
            yield Fault(message=fault.faults[0], remade=(path, folder.dataset))


def _state_faults(
    folder: IndexFolder, about: IndexDataset, plans: Mapping[int, PartPlan]
) -> Iterator[Fault]:
    path = folder.state
    partitions = len(about["parts"])
    again = (path, folder.plan(0, partitions))
    try:
        state = read_json(path, ScanState)
    except StorageError as fault:
        yield Fault(message=fault.faults[0], remade=again)
        return
    stops = [part["stop"] for part in state["parts"]]
    if (
        not is_as_written(state)
        or [part["first"] for part in state["parts"]] != [0, *stops[:-1]][: len(stops)]
        or (stops or [0])[-1] != state["rows"]
    ):
        yield Fault(message=f"{path}: is not what the scan wrote", remade=again)
        return
    wrong = [n for n, plan in plans.items() if not _is_scanned(n, plan, state, about)]
    for number in wrong:
        own = folder.plan(number, partitions)
        listed = folder.receipt("columns", number)
        yield Fault(message=f"{own}: is not what the scan wrote", remade=(own, listed))
    filled = [number for number, plan in plans.items() if plan["rows"]]
    if (
        wrong
        and {*filled} <= {*wrong}
        and all(
            (plans[n]["first"], plans[n]["rows"], plans[n]["keys"])
            == (about["parts"][n]["first"], about["parts"][n]["rows"], about["parts"][n]["keys"])
            for n in filled
        )
    ):
        yield Fault(message=f"{path}: is of other rows than those committed", remade=again)


def _is_scanned(number: int, plan: PartPlan, state: ScanState, about: IndexDataset) -> bool:
    listed = state.get("listed", {}).get(f"{number:05d}")
    if listed is not None:
        return digest_of([plan, about["columns"], about["modalities"]])[:32] == listed
    stop = plan["first"] + plan["rows"]
    known = {(part["first"], part["stop"]): part["keys"] for part in state["parts"]}
    if not plan["rows"]:
        return plan["first"] >= state["rows"]
    return known.get((plan["first"], stop)) == plan["keys"]


def _part_faults(
    folder: IndexFolder, about: IndexDataset, number: int, part: ColumnsReceipt, deep: bool
) -> Iterator[Fault]:
    again = (folder.receipt("columns", number),)
    receipts: dict[str, Any] = {}
    for name in ("columns", *about["modalities"]):
        path = folder.receipt(name, number)
        try:
            shape = ColumnsReceipt if name == "columns" else CellsReceipt
            receipts[name] = read_json(path, shape)
        except StorageError as fault:
            yield Fault(message=fault.faults[0], remade=again)
    found = receipts.get("columns", part)
    for name, receipt in receipts.items():
        if {key: receipt[key] for key in _ROWS} != {key: found[key] for key in _ROWS}:
            path = folder.receipt(name, number)
            yield Fault(message=f"{path}: is of other rows than its neighbours", remade=again)
    path = folder.part(number)
    try:
        table = IndexPart(path, part["rows"])
        wrong = _table_fault(table, about, receipts, found, deep)
    except StorageError as fault:
        yield Fault(message=fault.faults[0], remade=again)
        return
    if wrong:
        yield Fault(message=f"{path}: {wrong}", remade=again)
    elif found != part and not _has_grown(table, found, part):
        listed = folder.receipt("columns", number)
        yield Fault(
            message=f"{listed}: is not what dataset.json lists", remade=(*again, folder.dataset)
        )


_ROWS = ("part", "first", "rows", "keys")


def _has_grown(table: IndexPart, found: ColumnsReceipt, part: ColumnsReceipt) -> bool:
    """Whether the partition has rows more than were committed, after these."""
    if found["rows"] <= part["rows"]:
        return False
    rows = range(table.first, table.first + part["rows"])
    return keys_digest(table.read(["key"], rows)["key"]) == part["keys"]


def _table_fault(
    table: IndexPart,
    about: IndexDataset,
    receipts: Mapping[str, Any],
    found: ColumnsReceipt,
    deep: bool,
) -> str | None:
    names = ["key", "root", "reason", *about["columns"], *about["modalities"]]
    if missing := [name for name in names if name not in table.columns]:
        return f"has no column {', '.join(missing)}"
    if (table.first, table.stored) != (found["first"], found["rows"]):
        return "its rows are not those of its receipt"
    if not deep:
        return None
    digests: dict[str, list[str]] = defaultdict(list)
    keys: list[str] = []
    for rows in IndexPart(table.path).batches(names):
        if None in rows["key"] or not all(0 <= n < len(table.roots) for n in rows["root"]):
            return "has rows without a key or a root"
        keys += rows["key"]
        for name, digest in group_digests(
            rows, table.versions, about["columns"], about["modalities"]
        ).items():
            digests[name].append(digest)
    if keys_digest(keys) != found["keys"]:
        return "its keys are not those listed"
    wanted = dict(receipts.get("columns", {}).get("columns", {}))
    wanted |= {name: receipts[name]["digest"] for name in about["modalities"] if name in receipts}
    for name, digest in wanted.items():
        if digest_lines(digests[name]) != digest:
            return f"its column {name} is not that of its receipt"
    return None
