"""Rows of Parquet, from any row on, a row group at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sampan.errors import DataError
from sampan.sources.lines import places_of


def parquet_batches(
    file: Path, wanted: tuple[str, ...], start: int, rows: int
) -> Iterator[tuple[int, dict[str, list[Any]]]]:
    """
    Batches of at most `rows` rows from row `start` on, with the number of their first row.

    Row groups before `start` are not read. `DataError`: a column is missing, or it is no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            places_of(file, table.schema_arrow.names, wanted)
            first = 0
            for group in range(table.num_row_groups):
                size = table.metadata.row_group(group).num_rows
                if first + size > start:
                    batches = table.iter_batches(rows, row_groups=[group], columns=list(wanted))
                    yield from _from_row(batches, wanted, first, start)
                first += size
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
        raise DataError(f"{file}: not readable as Parquet: {fault}") from None
    except OSError as fault:
        if fault.errno is None:
            raise DataError(f"{file}: not readable as Parquet: {fault}") from None
        raise


def _from_row(
    batches: Iterator[Any], wanted: tuple[str, ...], first: int, start: int
) -> Iterator[tuple[int, dict[str, list[Any]]]]:
    """Batches whose first row is `first`, without the rows before `start`."""
    for batch in batches:
        skipped = min(max(start - first, 0), batch.num_rows)
        kept = batch.slice(skipped)
        if kept.num_rows:
            yield first + skipped, {name: kept.column(name).to_pylist() for name in wanted}
        first += batch.num_rows
