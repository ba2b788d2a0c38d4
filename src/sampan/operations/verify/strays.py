"""What lies among a stage's arrays and is none of theirs."""

import re
from collections.abc import Iterator
from pathlib import Path

from sampan.operations.verify.fault import Fault
from sampan.storage.lease import attempts
from sampan.store.layout import Layout
from sampan.store.ledger import Listing
from sampan.store.variant import Variant

_SHARD = re.compile(r"c(\.\d+)+")

KEPT_OPEN = ".nfs"
"""How NFS names a file that was removed while somebody has it open."""


def stray_faults(variant: Variant, layout: Layout, rows: int) -> Iterator[Fault]:
    """
    Shards that no record knows and that hold none of the `rows` which were committed, and whatever
    else is in the folders of the arrays.

    A shard that was published a moment ago is not recorded yet: with an attempt at work its age
    decides. What does not look like a file of ours is named and left to its owner.
    """
    if not variant.data.is_dir():
        return
    is_idle = not any(attempt.alive for attempt in attempts(variant.leases))
    known = _known(variant, layout, rows)
    for path in sorted(variant.data.iterdir()):
        if path.name in ("zarr.json", *layout.arrays) or path.name.startswith(KEPT_OPEN):
            continue
        if path.name.endswith(".partial"):
            continue
        if _is_an_array(path):
            yield Fault(message=f"{path}: is no array of this stage", stray=path, is_ours=is_idle)
        else:
            yield _foreign(path)
    for name, array in layout.arrays.items():
        folder = variant.data / name
        files = {array.shard_file(shard) for shard in known[name == "valid"]}
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.name in files or path.name == "zarr.json" or path.name.startswith(KEPT_OPEN):
                continue
            if path.name.endswith(".partial"):
                continue
            if _SHARD.fullmatch(path.name) and (path.is_symlink() or path.is_file()):
                message = f"{path}: no record knows it"
                yield Fault(message=message, stray=path, is_ours=is_idle)
            else:
                yield _foreign(path)


def _foreign(path: Path) -> Fault:
    return Fault(message=f"{path}: is no file of this stage; move it elsewhere")


def _known(variant: Variant, layout: Layout, rows: int) -> dict[bool, set[int]]:
    """Shards of the arrays, and those of `valid` (True), that are recorded or committed."""
    found = {shard for shard, held in Listing(variant.ledger).records(0, 2**62).items() if held}
    found.update(layout.shards(0, rows))
    size = layout.arrays["valid"].rows_per_shard
    return {False: found, True: {shard * layout.rows_per_shard // size for shard in found}}


def _is_an_array(path: Path) -> bool:
    """Whether a folder holds nothing but a Zarr array in our manner."""
    if path.is_symlink() or not path.is_dir():
        return False
    return all(
        inner.is_file() and (inner.name == "zarr.json" or _SHARD.fullmatch(inner.name))
        for inner in path.iterdir()
    )
