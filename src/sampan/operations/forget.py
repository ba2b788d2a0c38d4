"""
Drop a stage's records and receipts, so that it is computed again.

What was committed stays visible meanwhile; the shards are replaced one by one.
"""

import argparse
import contextlib
import shlex
import shutil
from pathlib import Path

from sampan.config.names import VariantName
from sampan.errors import ConfigError
from sampan.storage.durable import read_json, storing
from sampan.store import ledger, ledger_files
from sampan.store.catalogue import Entry, datasets, entries, models
from sampan.store.documents import PartRows
from sampan.store.layout import Layout


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stage", help="a variant, such as image.hog or image.hog@3f9a1c2e")
    parser.add_argument("--dataset", help="needed where several datasets have such a stage")
    parser.add_argument("--part", type=int, help="only this partition")
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: results")


def run(args: argparse.Namespace) -> None:
    receipts = forget(find(args.results, args.stage, args.dataset), args.part)
    print("forgotten; run this, with your --configfile if you use one, to compute it again:")
    print(shlex.join(["snakemake", "--profile", "profiles/local", *map(str, receipts)]))


def find(results: Path, stage: str, dataset: str | None) -> Entry:
    """The one variant that a name means; `ConfigError` lists them where it is none or several."""
    everything = [entry for folder in datasets(results) for entry in entries(folder)]
    everything += models(results)
    wanted = VariantName.parse(stage) or VariantName(stage, "")
    found = [
        entry
        for entry in everything
        if entry.name == wanted.name
        and wanted.digest in ("", entry.digest)
        and dataset in (None, entry.dataset)
    ]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(
        f"{entry.dataset or 'models'}: {entry.variant.path.name}" for entry in found or everything
    )
    what = (
        f"{len(found)} variants are called {stage!r}" if found else f"nothing is called {stage!r}"
    )
    raise ConfigError(f"{what}; there are: {shown or 'none'}; give name@digest and --dataset")


def forget(entry: Entry, part: int | None) -> list[Path]:
    """
    Remove records and receipts of a variant, or of one partition; returns the receipts' paths.
    """
    variant = entry.variant
    if entry.stage == "models":
        with storing(variant.path), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(variant.path / "checkpoints")
        names = ("model.safetensors", "model.json", "metrics.json")
        outputs = [variant.path / name for name in names]
        for path in outputs:
            _remove(path)
        return outputs
    receipts = sorted((variant.path / "receipts").glob("part-*.json"))
    if part is not None:
        receipts = [path for path in receipts if path == variant.receipt(part)]
        if not receipts:
            raise ConfigError(f"{variant.path}: has no partition {part}")
        about = read_json(receipts[0], PartRows)
        if about["rows"]:
            layout = Layout.read(variant.layout)
            shards = layout.shards(about["first"], about["rows"])
            ledger.forget(variant.ledger, shards, layout.rows_per_shard)
    else:
        for file in ledger_files.files(variant.ledger):
            _remove(file.path)
    for path in receipts:
        _remove(path)
    return receipts


def _remove(path: Path) -> None:
    with storing(path):
        path.unlink(missing_ok=True)
