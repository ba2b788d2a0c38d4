from random import Random

import pytest

from sampan.errors import StorageError
from sampan.store import ledger
from sampan.store.ledger import LedgerWriter, Record


def record(shard, key="k", **more):
    files = {"image": {"bytes": 100, "crc32c": "00000000"}}
    return Record(shard=shard, key=key, rows=8, files=files, **more)


def append(folder, *records, first=0, stop=64):
    with LedgerWriter(folder, first, stop) as attempt:
        for item in records:
            attempt.append(item)
    return attempt.path


def keys(folder, first=0, stop=64):
    found = ledger.records(folder, first, stop)
    return {shard: [item.key for item in items] for shard, items in found.items()}


def test_records_come_back_as_they_were(tmp_path):
    one = record(3, invalid=[(25, "truncated JPEG: 8 bytes are missing")], notes={"cut": 2})
    two = record(4, content="abc", invalid=[(33, "naïve ☃")])

    append(tmp_path, one, two)

    assert ledger.records(tmp_path, 0, 64) == {3: [one], 4: [two]}


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert ledger.records(tmp_path / "none", 0, 64) == {}


def test_a_torn_last_line_is_skipped_wherever_it_is_torn(tmp_path):
    path = append(tmp_path, record(1), record(2, invalid=[(17, "☃")]))
    whole = path.read_bytes()
    begin = whole.index(b"\n") + 1

    for end in range(begin, len(whole) - 1):
        path.write_bytes(whole[:end])

        assert keys(tmp_path) == {1: ["k"]}


@pytest.mark.parametrize("line", [b"null", b"[]", b"1", b'{"shard": 1}', b"\xff\xfe", b"{}"])
def test_a_line_that_is_no_record_is_skipped(line, tmp_path):
    path = append(tmp_path, record(1))
    path.write_bytes(line + b"\n" + path.read_bytes() + line)

    assert keys(tmp_path) == {1: ["k"]}


def test_of_several_attempts_the_latest_comes_last_whatever_the_clock_says(tmp_path, monkeypatch):
    for time, key in ((300, "first"), (200, "second"), (100, "third")):
        monkeypatch.setattr("time.time_ns", lambda time=time: time)
        append(tmp_path, record(1, key))

    assert keys(tmp_path) == {1: ["first", "second", "third"]}


def test_only_attempts_whose_rows_overlap_are_read(tmp_path):
    append(tmp_path, record(0, "a"), first=0, stop=64)
    append(tmp_path, record(8, "b"), first=64, stop=128)
    append(tmp_path, record(8, "c"), first=0, stop=128)

    assert keys(tmp_path, 0, 64) == {0: ["a"], 8: ["c"]}
    assert keys(tmp_path, 64, 65) == {8: ["b", "c"]}
    assert keys(tmp_path, 128, 192) == {}


def test_a_listing_finds_the_overlapping_attempts_of_any_width(tmp_path):
    random = Random(0)
    ranges = []
    for i in range(60):
        first = random.randrange(100)
        ranges.append((first, first + random.choice([1, 7, 64]), f"{i:02d}"))
        append(tmp_path, record(3, ranges[-1][2]), first=first, stop=ranges[-1][1])
    listing = ledger.Listing(tmp_path)

    for first in range(0, 180, 5):
        found = listing.records(first, first + 5).get(3, [])

        overlapping = [key for a, b, key in ranges if a < first + 5 and b > first]
        assert sorted(item.key for item in found) == overlapping


def test_withdrawn_records_are_gone_and_later_ones_count(tmp_path):
    append(tmp_path, record(1, "old"), record(2, "old"))
    with LedgerWriter(tmp_path, 0, 64) as attempt:
        attempt.withdraw([1])
        assert keys(tmp_path) == {2: ["old"]}
        attempt.append(record(1, "new"))

    assert keys(tmp_path) == {1: ["new"], 2: ["old"]}


def test_forgetting_takes_back_what_every_attempt_said_of_a_shard(tmp_path):
    append(tmp_path, record(0), record(1), record(2), first=0, stop=24)
    append(tmp_path, record(1), first=0, stop=64)

    ledger.forget(tmp_path, [1], rows_per_shard=8)

    assert keys(tmp_path, 0, 24) == keys(tmp_path, 8, 16) == {0: ["k"], 2: ["k"]}
    append(tmp_path, record(1, "again"))
    assert keys(tmp_path) == {0: ["k"], 1: ["again"], 2: ["k"]}


def test_forgetting_loses_nothing_that_a_running_attempt_says_afterwards(tmp_path):
    with LedgerWriter(tmp_path, 0, 64) as attempt:
        attempt.append(record(1))
        ledger.forget(tmp_path, [1], rows_per_shard=8)
        attempt.append(record(2))

        assert keys(tmp_path) == {2: ["k"]}


def test_an_attempt_that_had_nothing_to_say_leaves_no_file(tmp_path):
    append(tmp_path)

    assert list(tmp_path.rglob("*.jsonl")) == []


def test_a_file_that_vanishes_after_it_was_listed_holds_nothing(tmp_path):
    assert list(ledger.read(tmp_path / "gone.jsonl")) == []


class Torn:
    """A file that writes 5 bytes of the next line, and then finds the disk full."""

    def __init__(self, file):
        self._file = file
        self._has_failed = False

    def write(self, data):
        if self._has_failed:
            return self._file.write(data)
        self._has_failed = True
        self._file.write(bytes(data[:5]))
        raise OSError(28, "No space left on device")

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_what_a_failed_write_left_does_not_spoil_the_next_record(tmp_path):
    with LedgerWriter(tmp_path, 0, 64) as attempt:
        attempt.append(record(1))
        attempt._file = Torn(attempt._file)
        with pytest.raises(StorageError, match="No space left"):
            attempt.append(record(2))
        attempt.append(record(2))

    assert keys(tmp_path) == {1: ["k"], 2: ["k"]}


def test_a_short_write_is_continued(tmp_path):
    class Short(Torn):
        def write(self, data):
            return self._file.write(bytes(data[:7]))

    with LedgerWriter(tmp_path, 0, 64) as attempt:
        attempt._file = Short(attempt._file)
        attempt.append(record(1))

    assert keys(tmp_path) == {1: ["k"]}
