"""Columns of the index for all rows at once, in a few bytes a row."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sampan.config.split import SplitSettings
from sampan.index.parts import Index
from sampan.index.splits import NAMES, split_of
from sampan.models.features import Codes, kind_of_codes

if TYPE_CHECKING:
    import pyarrow as pa

MOST_COUNTED = 1_000_000
"""Groups of which an error says how large they are."""


class Coded(NamedTuple):
    """A column of text with few different values."""

    codes: Codes
    """(sample) positions in `names`; -1 where there is none."""
    names: tuple[str, ...]
    """As they occur first."""

    def texts(self, rows: NDArray[np.int64] | slice = slice(None)) -> "pa.Array":
        """(sample) of text at these rows, null where there is none."""
        return texts(self.codes[rows], self.names)


def texts(codes: NDArray[Any], names: Sequence[str]) -> "pa.Array":
    """(sample) positions in `names` → (sample) of text; null where they are negative."""
    import pyarrow as pa

    positions = pa.array(codes, pa.int32(), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(positions, pa.array(names, pa.string())).cast(pa.string())


def coded(index: Index, name: str) -> Coded:
    """A column of the index; all of it none where the index has no such column."""
    out: Codes = np.full(index.rows, -1, np.int8)
    found: dict[str, int] = {}
    for first, table in index.tables([name]):
        column = table.column(name).combine_chunks().dictionary_encode()
        known = [found.setdefault(text, len(found)) for text in column.dictionary.to_pylist()]
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        out = out.astype(kind_of_codes(len(found)), copy=False)
        out[first : first + len(codes)] = np.array([*known, -1], np.int32)[codes]
    return Coded(out, tuple(found))


def present(index: Index, name: str) -> NDArray[np.bool_]:
    """(sample): where a column says something."""
    out = np.zeros(index.rows, bool)
    for first, table in index.tables([name]):
        flags = table.column(name).is_valid().to_numpy()
        out[first : first + len(flags)] = flags
    return out


def column(
    index: Index, name: str, rows: range | None = None
) -> Iterator[tuple[int, NDArray[np.object_]]]:
    """Texts of these rows, some thousands at a time, each with the number of its first row."""
    for first, table in index.tables([name], rows):
        yield first, table.column(name).to_numpy()


def groups(index: Index, rows: range | None = None) -> Iterator[tuple[int, NDArray[np.object_]]]:
    """The same of what must not straddle splits: the group or, where there is none, the key."""
    for first, table in index.tables(["group", "key"], rows):
        yield first, _groups(table)


def _groups(table: "pa.Table") -> NDArray[np.object_]:
    import pyarrow.compute as pc

    found: NDArray[np.object_] = pc.coalesce(table.column("group"), table.column("key")).to_numpy()
    return found


def splits(
    index: Index, settings: SplitSettings, rows: range | None = None
) -> Iterator[tuple[int, NDArray[np.object_]]]:
    """The same of the splits' names; None for samples in none of them."""
    for first, table in index.tables(["group", "key", "split"], rows):
        given = table.column("split").to_numpy() if settings.column else None
        yield first, split_of(settings, _groups(table), given)


def split_codes(index: Index, settings: SplitSettings) -> NDArray[np.int8]:
    """(sample) positions in `splits.NAMES`, -1 for samples in none of them."""
    out = np.full(index.rows, -1, np.int8)
    for first, names in splits(index, settings):
        for code, name in enumerate(NAMES):
            out[first : first + len(names)][names == name] = code
    return out


def count_groups(index: Index) -> Counter[str]:
    """Rows of each group, of which there are `MOST_COUNTED` or a few more at most."""
    found: Counter[str] = Counter()
    for _, of in groups(index):
        found.update(map(str, of))
        if len(found) > MOST_COUNTED:
            break
    return found
