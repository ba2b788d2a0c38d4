import pytest
from told import FAILED, STARTED, epoch, progressed, worked, write_events

from sampan.errors import StorageError
from sampan.runs.events import TAIL_BYTES, events_of, read_all, read_events


@pytest.fixture
def log(tmp_path):
    return tmp_path / "part-00000.log"


def test_events_come_back_as_they_were_said(log):
    said = [STARTED, progressed(1024, 102.0), worked(4096, 40.0, read=0.25, wait=0.5), FAILED]

    found = read_events(write_events(log, *said))

    assert [each.event.name for each in found.said] == ["started", "progressed", "worked", "ended"]
    assert found.worked.busy == {"read": 0.25, "wait": 0.5}
    assert found.ended.outcome == "failed"
    assert list(found.ended.faults) == ["datasets.d: too many"]


def test_the_last_attempts_are_those_that_count(log):
    write_events(log, STARTED, worked(10, 1.0), FAILED)

    found = read_events(write_events(log, STARTED, progressed(8, 2.0)))

    assert (found.ended, found.worked) == (None, None)
    assert found.samples_per_second == 2.0


def test_a_training_has_its_epochs_left(log):
    found = read_events(write_events(log, STARTED, epoch(1, 9.0), epoch(20, 2.5)))

    assert found.seconds_left == 25.0
    assert found.samples_per_second is None


def test_a_line_that_a_kill_has_torn_costs_itself_alone(log):
    path = write_events(log, STARTED, progressed(8, 2.0))
    with path.open("ab") as file:
        file.write(b'{"event": "worked", "time": "2026-0')

    found = read_events(write_events(log, progressed(16, 4.0)))

    assert [each.event.name for each in found.said] == ["started", "progressed", "progressed"]
    assert found.samples_per_second == 4.0


@pytest.mark.parametrize(
    "line",
    ["no JSON", "[]", "7", '{"event": "danced", "time": "2026-01-01T00:00:00+00:00"}',
     '{"event": "ended"}', '{"event": "ended", "time": "soon", "outcome": "done", "seconds": 1}',
     '{"event": "ended", "time": "2026-01-01T00:00:00+00:00", "colour": 1}', "[" * 100_000],
    ids=["text", "list", "number", "unknown", "no time", "no date", "other fields", "deep"],
)  # fmt: skip
def test_other_lines_are_skipped(log, line):
    path = write_events(log, STARTED)
    with path.open("a") as file:
        file.write(f"{line}\n")

    found = read_events(write_events(log, progressed(8, 2.0)))

    assert found.samples_per_second == 2.0


def test_of_a_long_file_the_end_is_read(log):
    path = write_events(log, STARTED)
    with path.open("ab") as file:
        file.write(b"x" * TAIL_BYTES + b"\n")

    assert read_events(write_events(log, progressed(8, 2.0))).samples_per_second == 2.0


def test_files_that_are_not_there_are_none(log, tmp_path):
    path = write_events(log, STARTED)

    assert [each is None for each in read_all([tmp_path / "gone", path])] == [True, False]


def test_one_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        read_events(tmp_path)


def test_events_lie_beside_the_log(tmp_path):
    assert events_of(tmp_path / "image.hog@01234567.log").name == "image.hog@01234567.events.jsonl"
