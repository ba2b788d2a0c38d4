"""
What is wrong with a stage: its layout, partitions, arrays, `dataset.json`.

The records of the ledger say what was made. The receipt of a partition vouches for them, the
quarantine and `valid` repeat what they say of rows, and `dataset.json` repeats the receipts and the
layout: where two differ, a third says which is wrong.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sampan.config.names import FeatureName
from sampan.errors import StorageError
from sampan.index.parts import IndexFolder
from sampan.operations.verify.fault import Fault
from sampan.operations.verify.partition import PartitionCheck
from sampan.operations.verify.strays import stray_faults
from sampan.storage.durable import is_as_written, read_json
from sampan.store.catalogue import Entry
from sampan.store.committed import Committed, described, part_of, zarr_metadata
from sampan.store.documents import PartOfStage, Receipt, StageDataset
from sampan.store.layout import Layout, stored
from sampan.store.ledger import Listing
from sampan.store.variant import misfit


def stage_faults(entry: Entry, index: IndexFolder, deep: bool, made: str | None) -> Iterator[Fault]:
    """Everything; `made` names something that was made from it, so that it has to be committed."""
    variant = entry.variant
    about: StageDataset | None = None
    if variant.dataset.exists():
        about, wrong = _committed(entry)
        if wrong:
            yield Fault(message=wrong, remade=(variant.dataset,))
    elif made or (variant.data / "zarr.json").exists():
        why = f"{made} is made from it" if made else "the stage was committed"
        yield Fault(message=f"{variant.dataset}: is missing; {why}", remade=(variant.dataset,))
    receipts = sorted((variant.path / "receipts").glob("part-*.json"))
    layout, faults = _layout(entry, about, receipts)
    yield from faults
    if layout is None:
        return
    if about is not None and about["layout"] != layout.as_json():
        yield Fault(
            message=f"{variant.dataset}: its layout is not that of the arrays",
            remade=(variant.dataset,),
        )
        about = None
    yield from _parts_faults(entry, about, layout, receipts, index, deep)
    if about is not None:
        yield from _metadata_faults(entry)
        yield from stray_faults(variant, layout, about["rows"])


def _committed(entry: Entry) -> tuple[StageDataset | None, str | None]:
    """What `dataset.json` says, and what is wrong with it; None where nothing can be had of it."""
    path = entry.variant.dataset
    try:
        about, layout = entry.committed.about, entry.committed.layout
    except StorageError as fault:
        return None, fault.faults[0]
    own = {"kind": entry.stage, "dataset": entry.dataset, "name": entry.name}
    is_its_own = about["stage"] == own | {"digest": layout.settings}
    if not is_as_written(about) or not is_its_own or not layout.settings.startswith(entry.digest):
        return None, f"{path}: is not what was committed"
    return about, None


def _layout(
    entry: Entry, about: StageDataset | None, receipts: list[Path]
) -> tuple[Layout | None, list[Fault]]:
    """The layout by which the arrays are stored, and what is wrong with `layout.json`."""
    variant = entry.variant
    path = variant.layout
    found: Layout | None = None
    message = ""
    try:
        found = Layout.read(path)
        if not found.settings.startswith(entry.digest):
            found, message = None, f"{path}: is another variant's"
    except StorageError as fault:
        if not path.exists() and not receipts and about is None:
            return None, []
        message = fault.faults[0]
    committed = Committed(variant).layout if about is not None else None
    arrays = stored(variant.data, FeatureName.parse(entry.name).array, _settings(receipts, found))
    if found is not None and found in (committed, arrays):
        return found, []
    right = committed or arrays
    if right is not None and right.settings.startswith(entry.digest):
        message = message or f"{path}: is not the layout of the arrays beside it"
        return right, [Fault(message=message, restored=(path, right.as_json()))]
    if found is not None and not _is_of_another_layout(entry, found):
        return found, []
    if found is None and not path.exists() and not _has_rows(receipts):
        return None, []
    message = message or f"{path}: is not the layout of the shards that are recorded"
    return None, [Fault(message=message, remade=(path, *receipts))]


def _has_rows(receipts: list[Path]) -> bool:
    """Whether there is anything to have a layout; partitions beyond the data have none."""
    for path in receipts:
        try:
            if read_json(path, Receipt)["rows"]:
                return True
        except StorageError:
            return True
    return False


def _settings(receipts: list[Path], found: Layout | None) -> str:
    for path in receipts:
        try:
            return read_json(path, Receipt)["settings"]
        except StorageError:
            continue
    return found.settings if found is not None else ""


def _is_of_another_layout(entry: Entry, layout: Layout) -> bool:
    records = [
        found[-1] for found in Listing(entry.variant.ledger).records(0, 2**62).values() if found
    ]
    return bool(records) and all(misfit(layout, record) for record in records)


def _metadata_faults(entry: Entry) -> Iterator[Fault]:
    """What other Zarr readers need."""
    stage = entry.committed
    for path, value in zarr_metadata(entry.variant, stage.layout, stage.rows).items():
        message = f"{path}: is not what was committed"
        try:
            if read_json(path) == value:
                continue
        except StorageError as fault:
            message = fault.faults[0]
        yield Fault(message=message, restored=(path, value))


def _parts_faults(
    entry: Entry,
    about: StageDataset | None,
    layout: Layout,
    receipts: list[Path],
    index: IndexFolder,
    deep: bool,
) -> Iterator[Fault]:
    variant = entry.variant
    parts: list[PartOfStage] = about["parts"] if about is not None else []
    listed = {part["part"]: part for part in parts}
    there = {number for path in receipts if (number := _number(path)) is not None}
    check = PartitionCheck(entry, layout, index, deep)
    whole: list[Receipt] = []
    total = 0
    stale = False
    for number in sorted({*listed, *there}):
        path = variant.receipt(number)
        try:
            receipt: Any = read_json(path, Receipt)
        except StorageError as fault:
            yield Fault(message=fault.faults[0], remade=(path,))
            if number in listed:
                yield from check.shards(listed[number], path)
            continue
        found = list(check.faults(receipt, number, path))
        yield from found
        if found or number not in listed:
            continue
        whole.append(receipt)
        total += check.bytes
        if part_of(receipt) != part_of(listed[number]):
            stale = True
            if path.stat().st_mtime_ns > variant.dataset.stat().st_mtime_ns:
                message = f"{path}: is newer than dataset.json, and not committed yet"
                yield Fault(message=message, is_damage=False)
            else:
                message = f"{path}: is not what dataset.json lists"
                yield Fault(message=message, remade=(variant.dataset,))
    if about is not None and not stale and len(whole) == len(listed):
        wanted = described(layout, whole, total)
        if wrong := [name for name in wanted if about.get(name, 0) != wanted[name]]:
            yield Fault(
                message=f"{variant.dataset}: {', '.join(wrong)}: not what its receipts add up to",
                remade=(variant.dataset,),
            )


def _number(path: Path) -> int | None:
    number = path.stem.removeprefix("part-")
    return int(number) if number.isdigit() and number.isascii() and len(number) < 12 else None
