"""How a stage's arrays are cut into chunks and shards, and their Zarr v3 metadata."""

import contextlib
import errno
import os
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sampan.errors import ConfigError, StorageError
from sampan.plugins import ArraySpec
from sampan.storage.durable import fsync_folder, read_json, storing, write_json
from sampan.storage.lease import Lease
from sampan.store.documents import LayoutFile, ZarrArray

MIB = 2**20
CHUNK_BYTES = 1 * MIB
SHARD_BYTES = 64 * MIB
LARGEST_SHARD_BYTES = 1024 * MIB
SHARDS_PER_PART = 64
FILES_PER_FOLDER = 20_000
FEWEST_ROWS = 64
NO_LINKS = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
)
"""What a file system says that has no hard links, such as exFAT and some of FUSE."""


@dataclass(frozen=True, kw_only=True)
class ArrayLayout:
    """One array of a stage: `spec` is a row's, the rows are those of a chunk and of a shard."""

    spec: ArraySpec
    rows_per_chunk: int
    rows_per_shard: int

    @property
    def row_bytes(self) -> int:
        return int(np.dtype(self.spec.dtype).itemsize * np.prod(self.spec.shape, dtype=np.int64))

    @property
    def chunks_per_shard(self) -> int:
        return self.rows_per_shard // self.rows_per_chunk

    def file_bytes(self, rows: int) -> int:
        """Size of a shard's file that holds so many rows: whole chunks, then their index."""
        chunks = -(-rows // self.rows_per_chunk)
        return chunks * self.rows_per_chunk * self.row_bytes + 16 * self.chunks_per_shard + 4

    @property
    def fill(self) -> Any:
        return np.nan if np.dtype(self.spec.dtype).kind == "f" else 0

    def shard_file(self, shard: int) -> str:
        """The chunk key of a shard: all shards lie flat in the array's folder."""
        return ".".join(["c", str(shard), *["0"] * len(self.spec.shape)])

    def metadata(self, rows: int | None) -> dict[str, Any]:
        """`zarr.json` for `rows` samples (Zarr v3 core, sharding codec 1.0, index at the end)."""
        raw: dict[str, Any] = {"name": "bytes"}
        if np.dtype(self.spec.dtype).itemsize > 1:
            raw["configuration"] = {"endian": "little"}
        fill: Any = {"f": "NaN", "b": False}.get(np.dtype(self.spec.dtype).kind, 0)
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [rows, *self.spec.shape],
            "data_type": str(np.dtype(self.spec.dtype)),
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [self.rows_per_shard, *self.spec.shape]},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": fill,
            "codecs": [
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": [self.rows_per_chunk, *self.spec.shape],
                        "codecs": [raw],
                        "index_codecs": [
                            {"name": "bytes", "configuration": {"endian": "little"}},
                            {"name": "crc32c"},
                        ],
                        "index_location": "end",
                    },
                }
            ],
            "dimension_names": ["sample", *self.spec.dims],
            "attributes": {},
        }


_NAME = re.compile(r"[^/.\0][^/\0]*")

GROUP_METADATA = {"zarr_format": 3, "node_type": "group", "attributes": {}}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """All arrays of a stage; they share `rows_per_shard`, but `valid` has one shard a partition."""

    settings: str
    rows_per_part: int
    rows_per_shard: int
    arrays: dict[str, ArrayLayout]

    @property
    def main(self) -> str:
        return next(iter(self.arrays))

    def shards(self, first: int, rows: int) -> range:
        """Numbers of the shards that hold rows [first, first + rows); none where there are none."""
        size = self.rows_per_shard
        return range(first // size, -(-(first + rows) // size)) if rows else range(0)

    def metadata(self, name: str, rows: int | None) -> dict[str, Any]:
        """
        An array's `zarr.json`. Dimensions of those beside the main one bear their array's name,
        since within a group a dimension has one size.
        """
        found = self.arrays[name].metadata(rows)
        if name != self.main:
            found["dimension_names"][1:] = [f"{name}.{dim}" for dim in self.arrays[name].spec.dims]
        return found

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "arrays": [
                {"name": name, **array.spec._asdict()}
                | {"dims": list(array.spec.dims), "shape": list(array.spec.shape)}
                | {"rows_per_chunk": array.rows_per_chunk, "rows_per_shard": array.rows_per_shard}
                for name, array in self.arrays.items()
            ]
        }

    @classmethod
    def from_json(cls, value: LayoutFile) -> "Layout":
        """`StorageError` where its numbers make no layout."""
        arrays = {
            array["name"]: ArrayLayout(
                spec=ArraySpec(tuple(array["dims"]), tuple(array["shape"]), array["dtype"]),
                rows_per_chunk=array["rows_per_chunk"],
                rows_per_shard=array["rows_per_shard"],
            )
            for array in value["arrays"]
        }
        found = cls(
            settings=value["settings"],
            rows_per_part=value["rows_per_part"],
            rows_per_shard=value["rows_per_shard"],
            arrays=arrays,
        )
        if wrong := found._fault():
            raise StorageError(f"is damaged: {wrong}")
        return found

    @classmethod
    def read(cls, path: Path) -> "Layout":
        """The `layout.json` of a variant."""
        value: LayoutFile = read_json(path, LayoutFile)
        try:
            return cls.from_json(value)
        except StorageError as fault:
            raise StorageError(f"{path}: {fault.faults[0]}") from None

    def _fault(self) -> str | None:
        if "valid" not in self.arrays or len(self.arrays) < 2:
            return "there is no array valid, or none beside it"
        for name, array in self.arrays.items():
            if not _NAME.fullmatch(name) or len(array.spec.dims) != len(array.spec.shape):
                return f"array {name}: its name or its dimensions"
            if not _is_number(array.spec.dtype):
                return f"array {name}: dtype {array.spec.dtype}"
            size = self.rows_per_part if name == "valid" else self.rows_per_shard
            chunk = array.rows_per_chunk
            if not 0 < chunk <= size or size % chunk or array.rows_per_shard != size:
                return f"array {name}: rows of its chunks and shards"
        if self.rows_per_part % self.rows_per_shard:
            return f"rows_per_shard: {self.rows_per_shard} does not divide rows_per_part"
        return None


def _is_number(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "biufc"
    except TypeError:
        return False


def choose(
    settings: str,
    specs: dict[str, ArraySpec],
    rows_per_part: int,
    *,
    capacity: int = 0,
    rows_per_shard: int | None = None,
) -> Layout:
    """
    Chunks of 1 to 2 MiB; shards small enough for 64 a partition, then 64 MiB and more.

    The first of `specs` is the main array, whose row size decides. Shards grow, up to 1 GiB, where
    `capacity` rows would make more than 20,000 files. All rows are powers of two.
    """
    sizes = {
        name: int(np.dtype(spec.dtype).itemsize * np.prod(spec.shape, dtype=np.int64))
        for name, spec in specs.items()
    }
    row_bytes = max(1, next(iter(sizes.values())))
    largest = rows_per_part & -rows_per_part
    shard = rows_per_shard or _rows_per_shard(row_bytes, rows_per_part, capacity)
    if largest % shard:
        if rows_per_shard:
            raise ConfigError(
                f"rows_per_shard: {shard:,} must be a power of two that divides rows_per_job: "
                f"{rows_per_part:,}; set {min(largest, _power_of_two(shard)):,}"
            )
        shard = largest
    arrays = {
        name: ArrayLayout(
            spec=specs[name],
            rows_per_chunk=min(shard, _power_of_two(CHUNK_BYTES * 2 // max(1, size))),
            rows_per_shard=shard,
        )
        for name, size in sizes.items()
    }
    arrays["valid"] = valid_layout(rows_per_part)
    return Layout(
        settings=settings, rows_per_part=rows_per_part, rows_per_shard=shard, arrays=arrays
    )


def valid_layout(rows_per_part: int) -> ArrayLayout:
    """`valid (sample)`: one shard a partition, written at its end."""
    spec = ArraySpec((), (), "bool")
    return ArrayLayout(spec=spec, rows_per_chunk=rows_per_part, rows_per_shard=rows_per_part)


def _rows_per_shard(row_bytes: int, rows_per_part: int, capacity: int) -> int:
    for_64_shards = _power_of_two(rows_per_part // SHARDS_PER_PART)
    fewest = min(FEWEST_ROWS, _power_of_two(SHARD_BYTES // row_bytes))
    most = _power_of_two(4 * SHARD_BYTES // row_bytes)
    rows = min(max(for_64_shards, fewest), most)
    for_few_files = -(-capacity // FILES_PER_FOLDER)
    while rows < for_few_files and 2 * rows * row_bytes <= LARGEST_SHARD_BYTES:
        rows *= 2
    return rows


def _power_of_two(value: int) -> int:
    """The largest power of two that is not above `value`; 1 at least."""
    return 1 << (max(1, value).bit_length() - 1)


def pin(path: Path, wanted: Layout) -> Layout:
    """
    The layout of a variant's folder: what the first job chose, for good.

    A later `rows_per_job` may differ, if its partitions still fall on the boundaries of shards and
    of the parts of `valid`. `ConfigError` where they do not, `StorageError` where the folder is
    another variant's, or its arrays were committed with another layout.
    """
    if not path.exists():
        candidate = path.with_name(f".layout.{secrets.token_hex(4)}.partial")
        write_json(candidate, wanted.as_json())
        with storing(path):
            try:
                _put(candidate, path)
                fsync_folder(path.parent)
            finally:
                candidate.unlink(missing_ok=True)
    pinned = Layout.read(path)
    if pinned.settings != wanted.settings:
        raise StorageError(
            f"{path.parent}: made with the settings {pinned.settings[:16]}, "
            f"not {wanted.settings[:16]}; move the folder away"
        )
    if _specs(pinned) != _specs(wanted):
        raise StorageError(
            f"{path}: is damaged: its arrays are not those of its settings; run: "
            "sampan verify --repair"
        )
    if wanted.rows_per_part % pinned.rows_per_part:
        raise ConfigError(
            f"{path.parent}: stored in parts of {pinned.rows_per_part:,} rows; "
            f"rows_per_job: {wanted.rows_per_part:,} is no multiple of it"
        )
    if differing(pinned, path.parent / "data.zarr"):
        raise StorageError(
            f"{path}: is not the layout of the arrays beside it; run: sampan verify --repair"
        )
    return pinned


def _specs(layout: Layout) -> dict[str, ArraySpec]:
    return {name: array.spec for name, array in layout.arrays.items()}


def _put(candidate: Path, path: Path) -> None:
    """Give a file its name, unless another has it; a link, or where there are none a turn."""
    try:
        os.link(candidate, path)
    except FileExistsError:
        pass
    except OSError as fault:
        if fault.errno not in NO_LINKS:
            raise
        with Lease(path.parent / "leases", "layout") as lease:
            if not path.exists():
                lease.check()
                os.replace(candidate, path)


def stored(data: Path, main: str, settings: str) -> Layout | None:
    """The layout that the arrays' `zarr.json` say; None where they do not say one."""
    arrays: dict[str, ArrayLayout] = {}
    there = [path.parent.name for path in sorted(data.glob("*/zarr.json"))]
    for name in (main, *(name for name in ("length", "digest", "valid") if name in there)):
        try:
            value: ZarrArray = read_json(data / name / "zarr.json", ZarrArray)
            inner = value["codecs"][0]["configuration"]["chunk_shape"]
            grid = value["chunk_grid"]["configuration"]["chunk_shape"]
            dims = value["dimension_names"][1:]
            arrays[name] = ArrayLayout(
                spec=ArraySpec(
                    tuple(dim.removeprefix(f"{name}.") if name != main else dim for dim in dims),
                    tuple(value["shape"][1:]),
                    value["data_type"],
                ),
                rows_per_chunk=inner[0],
                rows_per_shard=grid[0],
            )
        except (StorageError, IndexError):
            return None
    found = Layout(
        settings=settings,
        rows_per_part=arrays["valid"].rows_per_shard if "valid" in arrays else 0,
        rows_per_shard=arrays[main].rows_per_shard,
        arrays=arrays,
    )
    return None if found._fault() or differing(found, data) else found


def differing(layout: Layout, data: Path) -> list[str]:
    """Arrays whose `zarr.json`, where it can be read, says another layout."""
    found = []
    for name in layout.arrays:
        with contextlib.suppress(StorageError):
            value: dict[str, Any] = read_json(data / name / "zarr.json", dict[str, Any])
            shape = value.get("shape")
            rows = shape[0] if isinstance(shape, list) and shape else None
            if value != layout.metadata(name, rows):
                found.append(name)
    return found
