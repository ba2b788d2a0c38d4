"""Let what is damaged be made again: take away what vouches for it, and no more."""

import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sampan import plugins
from sampan.errors import SampanError, StorageError
from sampan.operations.verify.fault import Fault
from sampan.storage.durable import read_json, storing, write_json
from sampan.store import ledger
from sampan.store.documents import PlanFile
from sampan.store.variant import Variant

log = logging.getLogger("sampan")


def repair(found: Sequence[Fault], orphan_seconds: float) -> list[Path]:
    """
    Mend what can be mended here, forget the rest; returns the files that have to be made again.

    Whatever vouches for a fault goes last, so that a repair that was interrupted finds it again.
    """
    for fault in found:
        if fault.restored is not None:
            write_json(*fault.restored)
        if fault.stray is not None:
            _remove(fault.stray, 0 if fault.is_ours else orphan_seconds)
    shards: dict[tuple[Variant, int], set[int]] = defaultdict(set)
    for fault in found:
        if fault.variant is not None and fault.shard is not None:
            shards[fault.variant, fault.rows_per_shard].add(fault.shard)
    for (variant, size), numbers in shards.items():
        ledger.forget(variant.ledger, sorted(numbers), size)
    targets: dict[Path, None] = {}
    for fault in found:
        for path in fault.remade:
            with storing(path):
                path.unlink(missing_ok=True)
            targets[path] = None
        targets |= dict.fromkeys(fault.asked)
    return [path for path in targets if not _is_no_output(path)]


def _is_no_output(path: Path) -> bool:
    """Files that a job writes beside those that Snakemake knows."""
    return path.name in ("scan.json", "layout.json")


def _remove(path: Path, seconds: float) -> None:
    try:
        age = time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return
    if age < seconds:
        log.info("%s: kept, only %.0f s old; see --orphan-seconds", path, age)
        return
    with storing(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    log.info("%s: removed", path)


def changed_sources(results: Path, targets: Iterable[Path]) -> Iterator[str]:
    """
    Sources of the datasets of these files that are missing, or were changed since the scan: what is
    made again is then made of what they hold now.
    """
    names = {path.relative_to(results).parts[0] for path in targets if results in path.parents}
    for name in sorted(names - {"models"}):
        said: set[str] = set()
        for path in sorted((results / name / "index/plan").glob("part*.json")):
            try:
                pieces = [
                    piece for plan in read_json(path, PlanFile).values() for piece in plan["pieces"]
                ]
            except StorageError:
                continue
            for piece in pieces:
                if piece["file"] not in said:
                    said.add(piece["file"])
                    if change := _change(piece["file"], piece["settings"], piece["stamp"], path):
                        yield f"{piece['file']}: {change}"


def _change(file: str, settings: Mapping[str, Any], stamp: str, plan: Path) -> str | None:
    try:
        if stamp and plugins.make("sources", settings, "source").stamp(Path(file)) != stamp:
            return "was changed since the scan"
        if Path(file).stat().st_mtime > plan.stat().st_mtime:
            return "was changed since the scan"
    except FileNotFoundError:
        return "is missing"
    except (OSError, SampanError) as fault:
        return f"cannot be read: {fault}"
    return None
