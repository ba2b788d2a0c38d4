"""Read the Parquet files that sampan wrote, in the one place that checks that they are whole."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sampan.errors import StorageError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Kind = Literal["int", "float", "text", "any"]


def open_parquet(path: Path, columns: Mapping[str, Kind]) -> "pq.ParquetFile":
    """`StorageError` where it is missing, damaged or lacks a column of these kinds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
    except FileNotFoundError:
        raise StorageError(f"{path}: is missing") from None
    except (OSError, ValueError) as fault:
        raise StorageError(f"{path}: cannot be read: {fault}") from fault
    holds = {
        "int": pa.types.is_integer,
        "float": pa.types.is_floating,
        "text": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
        "any": lambda kind: True,
    }
    for name, kind in columns.items():
        at = schema.get_field_index(name)
        if at < 0:
            raise StorageError(f"{path}: is damaged: it has no column {name}")
        if not holds[kind](schema.types[at]):
            raise StorageError(f"{path}: is damaged: its column {name} is {schema.types[at]}")
    return file


def read_table(path: Path, columns: Mapping[str, Kind], *, alone: bool = False) -> "pa.Table":
    """The whole table; `alone` reads these columns only."""
    file = open_parquet(path, columns)
    try:
        return file.read(columns=list(columns) if alone else None)
    except (OSError, ValueError) as fault:
        raise StorageError(f"{path}: cannot be read: {fault}") from fault


def batches(path: Path, columns: Mapping[str, Kind]) -> Iterator[list[dict[str, Any]]]:
    """All rows, some at a time."""
    file = open_parquet(path, columns)
    try:
        for batch in file.iter_batches():
            yield batch.to_pylist()
    except (OSError, ValueError) as fault:
        raise StorageError(f"{path}: cannot be read: {fault}") from fault
