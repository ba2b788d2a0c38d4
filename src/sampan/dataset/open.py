"""Open a dataset's committed stages as one lazy `xarray.Dataset`."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sampan.config.load import load, parse_as
from sampan.config.split import SplitSettings
from sampan.errors import ConfigError, StorageError
from sampan.index.columns import column, splits
from sampan.index.parts import Index, IndexFolder
from sampan.plan import Plan
from sampan.store.catalogue import Entry, entries
from sampan.store.committed import Committed
from sampan.store.identity import keys_digest
from sampan.store.layout import ArrayLayout
from sampan.store.read import Reader

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr


def open(
    path: str | Path,
    *,
    variants: Mapping[str, str] | None = None,
    config: str | Path | None = None,
) -> "xr.Dataset":
    """
    All committed stages of `results/<dataset>`, lazy, in chunks of one shard.

    Variables bear qualified names: `image (sample, image.y, image.x, image.channel)`,
    `image.valid`, `image.hog (sample, image.hog.embedding)`; `key`, `label`, `group` and `split`
    are coordinates. A stage committed for fewer rows than the index reads invalid beyond them.

    Where a name has several variants, `variants={"image.hog": "3f9a1c2e"}` says which, or `config`,
    whose variants are taken; else `ConfigError` lists them. `StorageError`: a stage was made from
    another index, or files are missing.
    """
    import xarray as xr

    folder = Path(path)
    index = Index(IndexFolder(folder / "index"))
    if not index.folder.dataset.exists():
        raise StorageError(f"{folder}: no committed index; run: snakemake index")
    plan = Plan(load(Path(config))) if config is not None else None
    variables: dict[str, Any] = {}
    attributes: dict[str, Any] = {"rows": index.rows}
    for entry in choose(folder, variants or {}, plan):
        stage = entry.committed
        check_same_rows(index, stage)
        for array, layout in stage.layout.arrays.items():
            name = entry.name if array == stage.layout.main else f"{entry.name}.{array}"
            dims = [f"{name}.{dim}" for dim in layout.spec.dims]
            variables[name] = (("sample", *dims), _lazy(stage, array, layout, index.rows))
        attributes[f"{entry.name}.variant"] = entry.digest
    coordinates = _coordinates(index, plan, folder.name)
    return xr.Dataset(variables, coordinates, attributes)


def choose(folder: Path, variants: Mapping[str, str], plan: Plan | None) -> list[Entry]:
    """One committed variant for each name."""
    by_name: dict[str, list[Entry]] = {}
    for entry in entries(folder):
        if entry.is_committed:
            by_name.setdefault(entry.name, []).append(entry)
    if unknown := sorted(set(variants) - set(by_name)):
        raise ConfigError(
            f"variants: nothing committed is called {', '.join(unknown)}; there are: "
            f"{', '.join(by_name) or 'none'}"
        )
    wanted = dict(variants)
    if plan is not None:
        stages = {**plan.preprocessed, **plan.features}
        planned = {name: stage.digest[:8] for (dataset, name), stage in stages.items()
                   if dataset == folder.name}  # fmt: skip
        wanted = {name: planned.get(name, "") for name in by_name} | wanted
    chosen: list[Entry] = []
    faults: list[str] = []
    for name, found in by_name.items():
        if name in wanted:
            matching = [entry for entry in found if entry.digest == wanted[name]]
            if not matching and name in variants:
                faults.append(f"variants: {name} has no variant {wanted[name]!r}; {_listed(found)}")
            chosen += matching
        elif len(found) > 1:
            faults.append(
                f"{name} has {len(found)} variants; {_listed(found)}; say which: "
                f'variants={{"{name}": "{found[0].digest}"}} or config="config.yaml"'
            )
        else:
            chosen += found
    if faults:
        raise ConfigError(faults)
    return chosen


def _listed(found: list[Entry]) -> str:
    made = [f"{entry.digest} ({entry.committed.about['made_with']})" for entry in found]
    return f"there are: {', '.join(made)}"


def check_same_rows(index: Index, stage: Committed) -> None:
    """`StorageError` where a stage's rows are not those of the index, in the same order."""
    known = {(part["first"], part["rows"]): part["keys"] for part in index.about["parts"]}
    for part in stage.about["parts"]:
        first, rows = part["first"], part["rows"]
        if rows and (known.get((first, rows)) or _keys(index, first, rows)) != part["keys"]:
            raise StorageError(
                f"{stage.variant.path}: made from another index (rows {first:,} to "
                f"{first + rows - 1:,} are other samples); run snakemake to make it again"
            )


def _keys(index: Index, first: int, rows: int) -> str:
    keys: list[str] = []
    for part in index.parts():
        start, stop = max(first, part.first), min(first + rows, part.first + part.rows)
        if start < stop:
            keys += part.read(["key"], range(start, stop))["key"]
    return keys_digest(keys)


def _lazy(stage: Committed, array: str, layout: ArrayLayout, rows: int) -> "da.Array":
    """(sample, …) of `rows` rows; those that are not committed hold the fill value."""
    import dask.array as da

    size = layout.rows_per_shard
    committed = min(stage.rows, rows)
    pieces = []
    if committed:
        counts = [min(size, committed - start) for start in range(0, committed, size)]
        pieces.append(
            da.map_blocks(
                _block,
                chunks=(tuple(counts), *((extent,) for extent in layout.spec.shape)),
                dtype=layout.spec.dtype,
                meta=np.empty((0,) * (1 + len(layout.spec.shape)), layout.spec.dtype),
                folder=str(stage.variant.data / array),
                layout=layout,
            )
        )
    if rows > committed:
        pieces.append(
            da.full(
                (rows - committed, *layout.spec.shape),
                layout.fill,
                layout.spec.dtype,
                chunks=(size, *layout.spec.shape),
            )
        )
    joined: da.Array = da.concatenate(pieces)
    return joined


def _block(folder: str, layout: ArrayLayout, block_info: Any = None) -> NDArray[Any]:
    start, stop = block_info[None]["array-location"][0]
    return Reader(Path(folder), layout).rows(start, stop)


def _coordinates(index: Index, plan: Plan | None, dataset: str) -> dict[str, Any]:
    """Read from the index when they are looked at, and then kept."""
    from sampan.dataset.index_text import lazy_text

    if plan is not None and dataset in plan.config.datasets:
        settings = plan.config.datasets[dataset].split
    else:
        settings = parse_as(SplitSettings, index.about["split"])
    read: dict[str, Any] = {
        name: partial(column, index, name)
        for name in ("key", "label", "group")
        if name == "key" or name in index.about["columns"]
    }
    read["split"] = partial(splits, index, settings)
    return {name: ("sample", lazy_text(index.rows, of)) for name, of in read.items()}
