"""
Conformance of a source.

    from sampan.testing.sources import SourceConformance

    class TestScp(SourceConformance):
        ending = ".scp"
        columns = ("file",)
        keys = ("alice", "bob", "eve-10", "eve-9", "été", "007")

        def make(self, path):
            return Scp(path=path)

        def write(self, file, keys):
            file.write_text("".join(f"{key} {key}.wav\\n" for key in keys))

        def spoil(self, file, row):
            lines = file.read_text().splitlines(keepends=True)
            file.write_text("".join([*lines[:row], "nothing\\n", *lines[row + 1 :]]))
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sampan.errors import DataError
from sampan.plugins import Cells, SelectiveSource, Source, TypedSource
from sampan.testing.plugins import PluginConformance
from sampan.testing.samples import no_files

KEYS = (
    *("b", "a", "10", "9", "007", "1e3", "1.0", "null", "NaN", "true", "-", "#1", "=1+1"),
    *("two words", "quo'te", 'dou"ble', "com,ma", "semi;colon", "back\\slash", "../up", "{}", "$x"),
    *("\u00e9t\u00e9", "e\u0301te\u0301", "ключ", "鍵", "שלום", "👩\u200d🚀", "x" * 300),
)
"""Texts that formats and their readers like to take for something else."""
NAMES = ("a b", "x[1]", "-rf", "50%25", "it's", "{0}", "e\u0301", "photo 🏖", ".hidden", "~", "a\nb")
"""Of files, before their ending."""
CUTS = (0.0, 0.1, 0.5, 0.9, 0.999)
"""Where a file is cut off, to see what becomes of the rest."""


class SourceConformance(PluginConformance):
    """
    Give `ending`, `columns` and the methods `make`, `write` and `spoil`.

    Formats in which some of `KEYS` cannot be written give `keys` of their own, five or more.
    """

    ending: ClassVar[str]
    """Of its files' names, such as `.csv`."""
    columns: ClassVar[tuple[str, ...]]
    """Those that `write` fills, beside the key."""
    keys: ClassVar[tuple[str, ...]] = KEYS

    def make(self, path: str) -> Source:
        """The source of a file, or of all that match a pattern such as `folder/part-*.csv`."""
        pytest.fail(f"{type(self).__name__} must give the method make")

    def write(self, file: Path, keys: Sequence[str]) -> None:
        """A file of samples with these keys, in this order."""
        pytest.fail(f"{type(self).__name__} must give the method write")

    def spoil(self, file: Path, row: int) -> None:
        """Damage one row of a file that `write` made, so that it cannot be used."""
        pytest.fail(f"{type(self).__name__} must give the method spoil")

    @pytest.fixture
    def plugin(self, tmp_path: Path) -> Source:
        return self.make(str(tmp_path / f"samples{self.ending}"))

    # Files ------------------------------------------------------------------------------------

    def test_settings_are_checked_without_a_look_at_files(self, tmp_path: Path) -> None:
        self.make(str(tmp_path / f"gone/samples{self.ending}"))
        self.make(str(tmp_path / f"gone/*{self.ending}"))

    @pytest.mark.parametrize("name", ["samples", "part-*"])
    def test_files_that_are_missing_are_an_error_that_names_them(
        self, tmp_path: Path, name: str
    ) -> None:
        path = str(tmp_path / f"{name}{self.ending}")

        with pytest.raises(DataError) as fault:
            self.make(path).files()

        assert path in str(fault.value), "say which path was looked for"

    def test_files_come_in_natural_order(self, tmp_path: Path) -> None:
        for number in (10, 9, 2, 1, 100):
            self.write(tmp_path / f"part-{number}{self.ending}", self.keys)

        found = self.make(str(tmp_path / f"part-*{self.ending}")).files()

        wanted = [tmp_path / f"part-{number}{self.ending}" for number in (1, 2, 9, 10, 100)]
        assert found == wanted, "part-10 follows part-9"

    @pytest.mark.parametrize("name", NAMES)
    def test_a_file_may_have_any_name(self, tmp_path: Path, name: str) -> None:
        file = self._written(tmp_path, name)
        source = self.make(str(file))

        assert source.files() == [file]
        assert read_all(source, file).keys == list(self.keys)

    def test_paths_in_cells_are_relative_to_a_folder(self, tmp_path: Path) -> None:
        file = self._written(tmp_path)

        root = self.make(str(file)).root_of(file)

        assert isinstance(root, Path)
        assert root.is_dir()

    def test_a_stamp_changes_with_the_file_and_with_nothing_else(self, tmp_path: Path) -> None:
        file = self._written(tmp_path)
        stamp = self.make(str(file)).stamp(file)

        assert isinstance(stamp, str)
        assert self.make(str(file)).stamp(file) == stamp
        if stamp:  # without one, a scan reads the whole file each time
            self.write(file, [*self.keys, "one-more"])
            assert self.make(str(file)).stamp(file) != stamp

    # Rows -------------------------------------------------------------------------------------

    def test_rows_have_their_keys_in_the_files_order(self, tmp_path: Path) -> None:
        file = self._written(tmp_path)

        found = read_all(self.make(str(file)), file, self.columns)

        assert found.keys == list(self.keys)
        assert found.reasons == [None] * len(self.keys)

    def test_reading_again_gives_the_same(self, tmp_path: Path) -> None:
        file = self._written(tmp_path)
        source = self.make(str(file))

        first = read_all(source, file, self.columns)

        assert read_all(source, file, self.columns) == first
        assert read_all(self.make(str(file)), file, self.columns) == first

    @pytest.mark.parametrize("rows", [1, 2, 3, 8192])
    def test_batches_have_at_most_the_rows_that_are_asked_for(
        self, tmp_path: Path, rows: int
    ) -> None:
        file = self._written(tmp_path)
        source = self.make(str(file))
        whole = read_all(source, file, self.columns)

        for cells in source.read(file, self.columns, rows=rows):
            assert 0 < len(cells.keys) <= rows
            for values in (*cells.columns.values(), cells.reasons, cells.offsets):
                assert len(values) == len(cells.keys)
        assert read_all(source, file, self.columns, rows=rows) == whole

    def test_reading_goes_on_from_any_offset(self, tmp_path: Path) -> None:
        file = self._written(tmp_path)
        self.spoil(file, 2)
        source = self.make(str(file))
        whole = read_all(source, file, self.columns)

        for i, offset in enumerate(whole.offsets):
            assert type(offset) is int and offset >= 0
            for rows in (2, 8192):
                found = read_all(source, file, self.columns, start=offset, rows=rows)
                assert found == part(whole, i), f"from row {i}, offset {offset}"

    def test_rows_do_not_depend_on_the_columns_that_are_read(self, tmp_path: Path) -> None:
        file = self._written(tmp_path)
        source = self.make(str(file))
        whole = read_all(source, file, self.columns)

        for columns in ((), *((name,) for name in self.columns)):
            found = read_all(source, file, columns)

            assert (found.keys, found.offsets) == (whole.keys, whole.offsets)
            assert found.columns == {name: whole.columns[name] for name in columns}

    def test_a_column_that_is_not_there_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        file = self._written(tmp_path)

        with pytest.raises(DataError, match="no-such-column"):
            read_all(self.make(str(file)), file, (*self.columns, "no-such-column"))

    def test_a_bad_row_keeps_its_place_and_has_a_reason(self, tmp_path: Path) -> None:
        file = self._written(tmp_path)
        source = self.make(str(file))
        whole = read_all(source, file, self.columns)
        self.spoil(file, 2)

        found = read_all(source, file, self.columns)

        assert [i for i, reason in enumerate(found.reasons) if reason is not None] == [2]
        assert str(found.reasons[2]).partition(": ")[0].strip(), "a bad row needs a reason"
        for before, after in ((0, 2), (3, len(self.keys))):
            assert found.keys[before:after] == whole.keys[before:after]
            for name in self.columns:
                values = found.columns[name], whole.columns[name]
                assert values[0][before:after] == values[1][before:after]

    # What is no file of its format ------------------------------------------------------------

    def test_a_file_without_samples_has_no_rows(self, tmp_path: Path) -> None:
        file = tmp_path / f"samples{self.ending}"
        self.write(file, [])
        source = self.make(str(file))

        assert read_all(source, file, ()).keys == []
        if isinstance(source, SelectiveSource):
            assert all(line.strip() for line in source.why_no_rows())
            assert source.why_no_rows(), "say why there is no row"

    def test_what_is_cut_off_is_read_or_refused_but_no_other_error(self, tmp_path: Path) -> None:
        file = self._written(tmp_path)
        content = file.read_bytes()

        for cut in CUTS:
            file.write_bytes(content[: int(cut * len(content))])
            _read_or_refuse(self.make(str(file)), file, self.columns)

    def test_what_is_no_file_of_its_format_is_read_or_refused_but_no_other_error(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / f"samples{self.ending}"
        for content in no_files():
            file.write_bytes(content)
            _read_or_refuse(self.make(str(file)), file, self.columns)

    def test_columns_that_hold_what_they_may_have_no_faults(self, tmp_path: Path) -> None:
        file = self._written(tmp_path)
        source = self.make(str(file))

        if isinstance(source, TypedSource):
            assert source.type_faults(file, dict(zip("abc", self.columns, strict=False))) == []

    def _written(self, folder: Path, name: str = "samples") -> Path:
        file = folder / f"{name}{self.ending}"
        self.write(file, self.keys)
        return file


def read_all(source: Source, file: Path, columns: tuple[str, ...] = (), **options: Any) -> Cells:
    """All batches of a file as one."""
    whole = Cells([], {name: [] for name in columns}, [], [])
    for cells in source.read(file, columns, **options):
        assert set(cells.columns) == set(columns), "give the columns that are asked for, no others"
        whole.keys.extend(cells.keys)
        whole.reasons.extend(cells.reasons)
        whole.offsets.extend(cells.offsets)
        for name, values in whole.columns.items():
            values.extend(cells.columns[name])
    return whole


def part(cells: Cells, first: int) -> Cells:
    """The rows from one on."""
    columns = {name: values[first:] for name, values in cells.columns.items()}
    return Cells(cells.keys[first:], columns, cells.reasons[first:], cells.offsets[first:])


def _read_or_refuse(source: Source, file: Path, columns: tuple[str, ...]) -> None:
    """Rows with keys or reasons, or a `DataError`; any other exception is the source's fault."""
    try:
        assert isinstance(source.stamp(file), str)
        found = read_all(source, file, columns)
    except DataError as fault:
        assert str(fault), "say what was found"
        return
    assert all(isinstance(key, str) for key in found.keys)
    assert all(reason is None or reason for reason in found.reasons)
