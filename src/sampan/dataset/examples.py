"""A few rows of one dataset as the page shows them: pictures, sounds and texts."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.dataset.open import check_same_rows
from sampan.errors import InvalidSample, StorageError
from sampan.index.cells import CellReader, is_empty
from sampan.index.parts import Index, IndexFolder, IndexPart
from sampan.plan import Plan
from sampan.plugins import Kind, Modality, SampledInTime, kind_of
from sampan.reporting.data import Media, Picture, ShownSample, ShownText, Sound
from sampan.store.committed import Committed
from sampan.store.variant import Variant

NOT_STORED = ShownText(text="not stored")
"""Shown of a sample that was used and whose source is away."""
ABSENT = ShownText(text="absent")
"""Shown where a sample's cell is empty."""
NUMBERS = 6
"""Values shown of a row that is neither a picture nor a sound nor a text."""


class Examples:
    """
    The index of a dataset and its modalities, read a row at a time.

    Of a modality that is not stored, a stage of features tells which rows are valid and equal.
    `StorageError` where a stage is not committed, or was made from another index.
    """

    def __init__(self, plan: Plan, dataset: str, results: Path) -> None:
        self._plan, self._dataset = plan, dataset
        self.index = Index(IndexFolder(results / dataset / "index"))
        self.stages = {
            name: Committed(Variant(results / stage.folder))
            for name, stage in plan.sources(dataset).items()
        }
        self.stored = [name for name in self.stages if (dataset, name) in plan.preprocessed]
        for stage in self.stages.values():
            check_same_rows(self.index, stage)

    def cells(self, rows: Iterable[int], columns: Sequence[str]) -> dict[int, dict[str, Any]]:
        """Row → its index columns; None where the index has no such column."""
        wanted = sorted(set(rows))
        found: dict[int, dict[str, Any]] = {}
        for about in self.index.about["parts"]:
            first, stop = about["first"], about["first"] + about["rows"]
            here = [row for row in wanted if first <= row < stop]
            if not here:
                continue
            part = IndexPart(self.index.folder.part(about["part"]), about["rows"])
            known = [name for name in columns if name in part.columns]
            for row in here:
                read = part.read(known, range(row, row + 1))
                found[row] = dict.fromkeys(columns) | {name: read[name][0] for name in known}
        return found

    def media(self, modality: str, row: int) -> Media | None:
        """
        One row of one modality; None where it is not valid, or not committed yet. Where it is not
        stored it is decoded, if its source is there.
        """
        stage = self.stages[modality]
        if row >= stage.rows:
            return None
        if not stage.reader("valid").rows(row, row + 1)[0]:
            return ABSENT if self._is_absent(modality, row) else None
        if modality not in self.stored:
            return self._decoded(modality, row) or NOT_STORED
        values = stage.reader().rows(row, row + 1)[0]
        if "length" in stage.layout.arrays:
            values = values[: int(stage.reader("length").rows(row, row + 1)[0])]
        return shown(
            values, stage.layout.kind_of_rows, stage.about["made_with"]["modality"].get("rate_hz")
        )

    def _is_absent(self, modality: str, row: int) -> bool:
        entry = self._plan.config.datasets[self._dataset].modalities[modality]
        how = entry.cell or self._plan.modality(self._dataset, modality).cell
        found = self.cells([row], [modality, "reason"])[row]
        return found["reason"] is None and is_empty(found[modality], how)

    def _decoded(self, modality: str, row: int) -> Media | None:
        entry = self._plan.config.datasets[self._dataset].modalities[modality]
        plugin: Modality = self._plan.modality(self._dataset, modality)
        part = next(
            part for part in self.index.parts() if part.first <= row < part.first + part.rows
        )
        cells = part.read(["root", modality], range(row, row + 1))
        reader = CellReader.of(part, entry.cell or plugin.cell, plugin.max_bytes, 0)
        spec = plugin.array()
        out = np.zeros(spec.shape, spec.dtype)
        try:
            cell = reader.cell(cells["root"][0], cells[modality][0])
            if cell is None:
                return None
            length = plugin.decode(reader.read(cell).data, out).length
        except (InvalidSample, StorageError):
            return None
        rate_hz = plugin.rate_hz if isinstance(plugin, SampledInTime) else None
        return shown(out[:length], kind_of(plugin), rate_hz)

    def faults(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(sample): in how many modalities each row is not valid."""
        found = np.zeros(len(rows), np.int64)
        for stage in self.stages.values():
            there = rows < stage.rows
            found += ~there
            found[there] += ~stage.reader("valid").take(rows[there])
        return found

    def digest(self, modality: str, row: int) -> bytes:
        """Of the source bytes: equal just where the content is equal."""
        found: bytes = self.stages[modality].reader("digest").rows(row, row + 1)[0].tobytes()
        return found

    def different(self, modality: str, rows: NDArray[np.int64]) -> int:
        """How many different contents the rows have."""
        digests = self.stages[modality].reader("digest").take(rows)
        return len(np.unique(np.ascontiguousarray(digests).view("V16").ravel()))

    def samples(
        self, splits: dict[int, str | None], modalities: Sequence[str]
    ) -> dict[int, ShownSample]:
        """Row → the whole sample; `splits` says which rows, and the split of each."""
        return {
            row: ShownSample(
                key=cells["key"],
                media={name: self.media(name, row) for name in modalities},
                label=cells["label"],
                split=splits[row],
            )
            for row, cells in self.cells(splits, ("key", "label")).items()
        }


def shown(values: NDArray[Any], kind: Kind | None, rate_hz: float | None) -> Media | None:
    """
    What a canonical row of this kind looks like; None where it is empty.

    A picture (y, x, channel), a text (byte) in UTF-8, a sound (time) at a rate; anything else is
    shown by its first numbers.
    """
    if values.size == 0:
        return None
    if kind == "image":
        return Picture(pixels=values)
    if kind == "text":
        return ShownText(text=values.tobytes().decode(errors="replace"))
    if kind == "audio" and rate_hz:
        return Sound(samples=values, rate_hz=float(rate_hz))
    first = ", ".join(f"{number:.4g}" for number in values.ravel()[:NUMBERS].tolist())
    return ShownText(text=first + (", …" if values.size > NUMBERS else ""))
