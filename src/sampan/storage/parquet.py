"""Write small Parquet files whole, and read those that sampan wrote, which checks that they are."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sampan.errors import StorageError
from sampan.storage.durable import replacing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

Kind = Literal["int", "float", "text", "any"]


def write_table(path: Path, table: "pa.Table", outbox: Path | None = None) -> None:
    """Write `path` whole or not at all, as `durable.replacing` does."""
    write_tables(path, iter([table]), outbox)


def write_tables(path: Path, tables: Iterator["pa.Table"], outbox: Path | None = None) -> None:
    """The same of tables of one schema, one after another; there is one at least."""
    import pyarrow.parquet as pq

    first = next(tables)
    with replacing(path, outbox) as file, pq.ParquetWriter(file, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


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


def coded_batches(path: Path, column: str) -> Iterator[tuple["NDArray[np.int32]", list[str]]]:
    """
    All rows of a column of text, some at a time: positions (row) in the texts that occur among
    them; -1 where there is none.
    """
    file = open_parquet(path, {column: "any"})
    try:
        for batch in file.iter_batches(columns=[column]):
            found = batch.column(0).dictionary_encode()
            codes = found.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            yield codes, found.dictionary.to_pylist()
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
