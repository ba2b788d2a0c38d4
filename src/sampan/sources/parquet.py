"""Rows of Parquet, from any row on, some megabytes at a time."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sampan.errors import DataError
from sampan.sources.columns import missing, splits_of

BATCH_BYTES = 2**24
SAFE_ROWS = 1024
"""Rows at once where a dictionary hides how long they are: one value of it has 1 MiB at most."""


class Batch(NamedTuple):
    """So many rows from `first` on: their values, and why some values cannot be had."""

    first: int
    rows: int
    columns: dict[str, list[Any]]
    faults: dict[str, dict[int, str]]
    """Column → row of the batch → why its value cannot be had; columns with faults alone."""


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A `ParquetFile` that is read in small pieces; `DataError` where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, buffer_size=2**20, pre_buffer=False) as table:
            yield table
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
        raise DataError(f"{file}: not readable as Parquet: {fault}") from None
    except OSError as fault:
        if fault.errno is None:
            raise DataError(f"{file}: not readable as Parquet: {fault}") from None
        raise


def parquet_batches(file: Path, wanted: Sequence[str], start: int, rows: int) -> Iterator[Batch]:
    """
    Batches of at most `rows` rows and about 16 MiB from row `start` on.

    Row groups before `start` are not read. `DataError`: a column is missing, or it is no Parquet.
    """
    with opened(file) as table:
        paths = paths_of(file, table.schema_arrow, wanted)
        whole = set(paths.values())
        columns = list(
            dict.fromkeys(
                ".".join(path)
                for path in paths.values()
                if not any(path[:depth] in whole for depth in range(1, len(path)))
            )
        )
        first = 0
        for group in range(table.num_row_groups):
            about = table.metadata.row_group(group)
            if first + about.num_rows > start:
                size = _rows_at_once(about, columns, rows)
                found = table.iter_batches(size, row_groups=[group], columns=columns)
                yield from _from_row(found, paths, first, start)
            first += about.num_rows


def paths_of(file: Path, schema: Any, wanted: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Column → its field, and the fields inside of that; `DataError` where one is not there."""
    found: dict[str, tuple[str, ...]] = {}
    faults = []
    for name in wanted:
        places = _paths(schema, name)
        if len(places) == 1:
            found[name] = places[0]
        elif places:
            faults.append(f"{file}: {len(places)} columns are called {name!r}; one is allowed")
        else:
            faults.append(missing(file, [name], list(_names(schema))))
    if faults:
        raise DataError(faults)
    return found


def nested(schema: Any, path: Sequence[str]) -> bool:
    """Whether a column's type holds more than one value a row."""
    import pyarrow.types as kinds

    field = schema.field(path[0])
    for name in path[1:]:
        field = field.type.field(name)
    return bool(kinds.is_nested(field.type))


def _paths(fields: Any, name: str) -> list[tuple[str, ...]]:
    import pyarrow.types as kinds

    found: list[tuple[str, ...]] = [(field.name,) for field in fields if field.name == name]
    if found:
        return found
    for head, rest in splits_of(name):
        for field in fields:
            if field.name == head and kinds.is_struct(field.type):
                found += [(head, *path) for path in _paths(field.type.fields, rest)]
        if found:
            return found
    return []


def _names(fields: Any, before: str = "") -> Iterator[str]:
    import pyarrow.types as kinds

    for field in fields:
        yield f"{before}{field.name}"
        if kinds.is_struct(field.type):
            yield from _names(field.type.fields, f"{before}{field.name}.")


def _rows_at_once(about: Any, columns: Sequence[str], rows: int) -> int:
    """So many rows of a row group that they hold some megabytes, as far as its metadata tell."""
    total, hidden, num_rows = 0, False, int(about.num_rows)
    for number in range(about.num_columns):
        column = about.column(number)
        name = column.path_in_schema
        if any(name == wanted or name.startswith(f"{wanted}.") for wanted in columns):
            total += int(column.total_uncompressed_size)
            is_long = column.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
            hidden |= is_long and column.has_dictionary_page
    most = BATCH_BYTES * num_rows // max(1, total)
    if hidden and total * rows > BATCH_BYTES:
        most = min(most, SAFE_ROWS)
    return max(1, min(rows, most))


def _from_row(
    batches: Iterator[Any], paths: Mapping[str, tuple[str, ...]], first: int, start: int
) -> Iterator[Batch]:
    """Batches whose first row is `first`, without the rows before `start`."""
    for batch in batches:
        at = min(max(start - first, 0), batch.num_rows)
        while at < batch.num_rows:
            rest = batch.slice(at)
            kept = rest.slice(0, max(1, BATCH_BYTES * rest.num_rows // max(1, rest.nbytes)))
            yield _values(first + at, kept, paths)
            at += kept.num_rows
        first += batch.num_rows


def _values(first: int, batch: Any, paths: Mapping[str, tuple[str, ...]]) -> Batch:
    import pyarrow as pa
    import pyarrow.compute as pc

    faults: dict[str, dict[int, str]] = {}
    columns: dict[str, list[Any]] = {}
    for name, (top, *fields) in paths.items():
        column = batch.column(top)
        if fields:
            column = pc.struct_field(column, fields)
        try:
            columns[name] = _short_floats(column) or column.to_pylist()
        except MemoryError:
            raise
        except (ValueError, ArithmeticError, LookupError, TypeError, pa.ArrowException):
            columns[name], faults[name] = _one_by_one(name, column)
    return Batch(first, batch.num_rows, columns, faults)


def _short_floats(column: Any) -> list[float | None]:
    """Of 16 or 32 bits: as they are written, 0.1 rather than 0.10000000149011612; else nothing."""
    import pyarrow.types as kinds

    if not (kinds.is_float16(column.type) or kinds.is_float32(column.type)):
        return []
    values = column.to_numpy(zero_copy_only=False)  # with NaN where there is none
    return [
        None if value != value else float(text)
        for value, text in zip(values, values.astype(str), strict=True)
    ]


def _one_by_one(name: str, column: Any) -> tuple[list[Any], dict[int, str]]:
    """The values of a column of which some cannot be had: None and a reason for those."""
    import pyarrow as pa

    found: list[Any] = []
    reasons: dict[int, str] = {}
    for row in range(len(column)):
        value = None
        try:
            value = column[row].as_py()
        except MemoryError:
            raise
        except UnicodeDecodeError:
            reasons[row] = f"not UTF-8: the text in column {name!r}"
        except (ValueError, ArithmeticError, LookupError, TypeError, pa.ArrowException) as fault:
            reasons[row] = f"unreadable value: column {name!r}: {fault}"
        found.append(value)
    return found, reasons
