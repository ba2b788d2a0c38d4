import os
from random import Random

import pytest
from store.test_ledger import append, keys, record

from sampan.store import ledger, ledger_files
from sampan.store.ledger import LedgerWriter, Listing


@pytest.fixture
def listed(monkeypatch):
    """The names that were listed, of all folders."""
    names = []
    listdir = os.listdir

    def listing(folder):
        found = listdir(folder)
        names.extend(found)
        return found

    monkeypatch.setattr(os, "listdir", listing)
    return names


def ranges():
    """Rows of partitions of many sizes, of a dataset that grows, and of shards to be forgotten."""
    random = Random(0)
    yield from ((n * 1024, (n + 1) * 1024) for n in range(200))
    yield from ((200 * 1024, 200 * 1024 + rows) for rows in (1, 63, 64, 500, 1023))
    for _ in range(200):
        first = random.randrange(10**6)
        yield first, first + random.choice([1, 8, 1000, 10**5, 10**9])


def test_the_ledgers_that_overlap_any_rows_are_found_in_their_order(tmp_path):
    for number, (first, stop) in enumerate(ranges()):
        path = ledger_files.folder_of(tmp_path, first, stop)
        path.mkdir(parents=True, exist_ok=True)
        (path / ledger_files.name_of(first, stop, number, "ab")).touch()
    everything = ledger_files.files(tmp_path)

    assert [(file.first, file.stop) for file in everything] == list(ranges())
    for first, stop in ((0, 1), (1023, 1025), (77_824, 78_848), (200 * 1024, 10**6), (0, 2**40)):
        overlapping = [file for file in everything if file.first < stop and file.stop > first]
        assert ledger_files.overlapping(tmp_path, first, stop) == overlapping


def test_a_partition_looks_at_no_more_ledgers_however_many_there_are(tmp_path, listed):
    def looks(partitions):
        for first in range(0, 8 * partitions, 8):
            if not (path := ledger_files.folder_of(tmp_path, first, first + 8)).exists():
                path.mkdir(parents=True)
            (path / ledger_files.name_of(first, first + 8, 1, "ab")).touch()
        del listed[:]
        with LedgerWriter(tmp_path, 1024, 1032):
            ledger.records(tmp_path, 1024, 1032)
        return len(listed)

    assert looks(2_000) == looks(200) < 200


def test_a_folder_holds_a_bounded_number_of_partitions_ledgers(tmp_path):
    folders = [ledger_files.folder_of(tmp_path, 1024 * n, 1024 * (n + 1)) for n in range(1000)]

    assert max(folders.count(folder) for folder in folders) == 16
    assert len(set(folders)) == 63


def test_a_few_wide_rows_among_many_narrow_ones_are_found_without_trying_every_folder(
    tmp_path, listed
):
    append(tmp_path, record(0), first=0, stop=1)

    assert keys(tmp_path, 0, 2**40) == {0: ["k"]}
    assert len(listed) < 10


def flatten(folder):
    """As earlier versions wrote them."""
    for file in ledger_files.files(folder):
        file.path.rename(folder / file.path.name)


def test_ledgers_that_lie_flat_are_read_before_those_of_today(tmp_path):
    append(tmp_path, record(1, "first"), record(2, "first"))
    append(tmp_path, record(1, "second"))
    flatten(tmp_path)

    append(tmp_path, record(1, "third"), first=8, stop=16)

    assert keys(tmp_path) == {1: ["first", "second", "third"], 2: ["first"]}
    assert [one.key for one in Listing(tmp_path).records(8, 16)[1]] == ["first", "second", "third"]


def test_what_lies_flat_is_forgotten_too(tmp_path):
    append(tmp_path, record(1), record(2))
    flatten(tmp_path)

    ledger.forget(tmp_path, [1], rows_per_shard=8)

    assert keys(tmp_path) == {2: ["k"]}


def test_what_is_no_ledger_is_left_alone(tmp_path):
    append(tmp_path, record(1))
    (tmp_path / "notes.txt").touch()
    (tmp_path / "64").touch()
    (tmp_path / "0/0").mkdir(parents=True)

    assert keys(tmp_path) == {1: ["k"]}
    assert len(ledger_files.files(tmp_path)) == 1
