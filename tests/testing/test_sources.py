"""The suite passes a source that keeps to the contract and fails each breach of it."""

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sampan.errors import DataError
from sampan.plugins import Cells
from sampan.testing.sources import SourceConformance

BREACH = (AssertionError, pytest.fail.Exception, ValueError, DataError)


@dataclass(frozen=True, kw_only=True)
class Scp:
    """Keeps to the contract: lines of a key, a space and a path, as Kaldi's `wav.scp`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    path: str
    """A file, or a pattern."""

    def files(self):
        found = [self.path] if os.path.isfile(self.path) else glob.glob(self.path)
        if not found:
            raise DataError(f"{self.path}: no file matches")
        return [Path(path) for path in sorted(found, key=self.order)]

    def order(self, path):
        return [int(text) if text.isdigit() else 0 for text in re.split(r"(\d+)", path)]

    def root_of(self, file):
        return file.parent

    def stamp(self, file):
        return ""

    def read(self, file, columns, *, start=0, rows=8192):
        if unknown := {*columns} - {"file"}:
            raise DataError(f"{file}: no column {unknown}; there is: file")
        with file.open("rb") as lines:
            lines.seek(start)
            batch = []
            while line := lines.readline():
                batch.append((lines.tell() - len(line), *self.cells_of(line)))
                if len(batch) == rows:
                    yield self.cells(batch, columns)
                    batch = []
            if batch:
                yield self.cells(batch, columns)

    def cells_of(self, line):
        try:
            key, path = line.decode().rstrip("\n").split(" ")
        except ValueError:
            return "", None, "not a key and a path"
        return key, path, None

    def cells(self, batch, columns):
        offsets, keys, paths, reasons = map(list, zip(*batch, strict=True))
        return Cells(keys, {name: paths for name in columns}, reasons, offsets)


class TestScp(SourceConformance):
    ending = ".scp"
    columns = ("file",)
    keys = ("alice", "bob", "eve-10", "eve-9", "été", "007")
    source: ClassVar[type] = Scp

    def make(self, path):
        return self.source(path=path)

    def write(self, file, keys):
        file.write_text("".join(f"{key} {key}.wav\n" for key in keys))

    def spoil(self, file, row):
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join([*lines[:row], "nothing\n", *lines[row + 1 :]]))


@dataclass(frozen=True, kw_only=True)
class LooksAtFiles(Scp):
    def __post_init__(self):
        self.files()


class FindsNone(Scp):
    def files(self):
        return [Path(path) for path in glob.glob(self.path)]


class SortsByText(Scp):
    def order(self, path):
        return path


class TakesNamesForPatterns(Scp):
    def files(self):
        return super().files() if glob.glob(self.path) else []


class HasNoFolder(Scp):
    def root_of(self, file):
        return file.parent / "sounds"


class StampsNames(Scp):
    def stamp(self, file):
        return file.name


class StampsTime(Scp):
    count: ClassVar[list[int]] = []

    def stamp(self, file):
        self.count.append(0)
        return str(len(self.count))


class NeverReadsTheSame(Scp):
    count: ClassVar[list[int]] = []

    def cells_of(self, line):
        self.count.append(0)
        return super().cells_of(line)[0], len(self.count), None


class ReadsNumbers(Scp):
    def cells_of(self, line):
        key, path, reason = super().cells_of(line)
        return str(int(key)) if key.isdigit() else key, path, reason


class IgnoresRows(Scp):
    def read(self, file, columns, *, start=0, rows=8192):
        return super().read(file, columns, start=start)


class IgnoresTheStart(Scp):
    def read(self, file, columns, *, start=0, rows=8192):
        return super().read(file, columns, rows=rows)


class NumbersFromTheStart(Scp):
    def cells(self, batch, columns):
        found = super().cells(batch, columns)
        return found._replace(offsets=[at - found.offsets[0] for at in found.offsets])


class GivesAllColumns(Scp):
    def cells(self, batch, columns):
        return super().cells(batch, ("file",))


class InventsColumns(Scp):
    def read(self, file, columns, *, start=0, rows=8192):
        for cells in super().read(file, ("file",), start=start, rows=rows):
            yield cells._replace(columns=dict.fromkeys(columns, cells.columns["file"]))


class DropsBadRows(Scp):
    def cells(self, batch, columns):
        return super().cells([row for row in batch if row[3] is None] or batch, columns)


class StopsAtBadRows(Scp):
    def cells_of(self, line):
        key, path, reason = super().cells_of(line)
        if reason:
            raise DataError(reason)
        return key, path, reason


class GivesNoReason(Scp):
    def cells_of(self, line):
        return *super().cells_of(line)[:2], None


class Crashes(Scp):
    def cells_of(self, line):
        key, path = line.decode().split(" ")
        return key, path.rstrip("\n"), None


class GivesEmptyBatches(Scp):
    def read(self, file, columns, *, start=0, rows=8192):
        yield Cells([], {name: [] for name in columns}, [], [])
        yield from super().read(file, columns, start=start, rows=rows)


class CannotSayWhy(Scp):
    def why_no_rows(self):
        return []


class FaultsAll(Scp):
    def type_faults(self, file, columns):
        return [f"{use}: a list" for use in columns]


@pytest.mark.parametrize(
    ("source", "test", "arguments"),
    [
        (LooksAtFiles, "settings_are_checked_without_a_look_at_files", ()),
        (FindsNone, "files_that_are_missing_are_an_error_that_names_them", ("part-*",)),
        (SortsByText, "files_come_in_natural_order", ()),
        (TakesNamesForPatterns, "a_file_may_have_any_name", ("x[1]",)),
        (HasNoFolder, "paths_in_cells_are_relative_to_a_folder", ()),
        (StampsNames, "a_stamp_changes_with_the_file_and_with_nothing_else", ()),
        (StampsTime, "a_stamp_changes_with_the_file_and_with_nothing_else", ()),
        (ReadsNumbers, "rows_have_their_keys_in_the_files_order", ()),
        (NeverReadsTheSame, "reading_again_gives_the_same", ()),
        (IgnoresRows, "batches_have_at_most_the_rows_that_are_asked_for", (2,)),
        (GivesEmptyBatches, "batches_have_at_most_the_rows_that_are_asked_for", (2,)),
        (IgnoresTheStart, "reading_goes_on_from_any_offset", ()),
        (NumbersFromTheStart, "reading_goes_on_from_any_offset", ()),
        (GivesAllColumns, "rows_do_not_depend_on_the_columns_that_are_read", ()),
        (InventsColumns, "a_column_that_is_not_there_is_an_error_that_names_it", ()),
        (DropsBadRows, "a_bad_row_keeps_its_place_and_has_a_reason", ()),
        (StopsAtBadRows, "a_bad_row_keeps_its_place_and_has_a_reason", ()),
        (GivesNoReason, "a_bad_row_keeps_its_place_and_has_a_reason", ()),
        (Crashes, "what_is_cut_off_is_read_or_refused_but_no_other_error", ()),
        (Crashes, "what_is_no_file_of_its_format_is_read_or_refused_but_no_other_error", ()),
        (CannotSayWhy, "a_file_without_samples_has_no_rows", ()),
        (FaultsAll, "columns_that_hold_what_they_may_have_no_faults", ()),
    ],
)  # fmt: skip
def test_a_source_against_the_contract_fails(tmp_path, source, test, arguments):
    suite = type("Suite", (TestScp,), {"source": source})()

    with pytest.raises(BREACH):
        getattr(suite, f"test_{test}")(tmp_path, *arguments)
