import dataclasses
import json
import logging
import re
from datetime import datetime

import pytest
from configs import ROOT
from told import STARTED, epoch, progressed, worked, write_events

from sampan.cli import main
from sampan.events import EVENTS, events_to, say


@pytest.fixture(autouse=True)
def level():
    logging.getLogger("sampan").setLevel(logging.INFO)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_a_line_of_json_with_its_time_and_its_fields(tmp_path):
    path = write_events(tmp_path / "a.log", worked(10, 2.0, read=1 / 3))

    (found,) = lines(path)

    assert found["event"] == "worked"
    assert datetime.fromisoformat(found["time"]).utcoffset().total_seconds() == 0
    assert (found["samples"], found["seconds"], found["busy"]) == (10, 2.0, {"read": 0.333333})


def test_what_is_said_is_a_line_of_the_log_too(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "sampan"):
        write_events(tmp_path / "a.log", progressed(1024, 102.0), epoch(3, 2.0))

    assert [record.message for record in caplog.records] == [
        "preprocess text@01234567: 1,024 of 4,096 samples (102/s, 30 s left)",
        "epoch 3 of 30: train loss 1.0000, validation loss 1.0000, accuracy 0.5000, "
        "learning rate 1.00e-03, 2.0 s",
    ]


def test_other_lines_of_the_log_are_no_events(tmp_path):
    path = tmp_path / "events.jsonl"
    with events_to(path):
        logging.getLogger("sampan").info("for people")
        say(STARTED)

    assert [line["event"] for line in lines(path)] == ["started"]


def test_attempts_follow_one_another(tmp_path):
    write_events(tmp_path / "a.log", STARTED)
    path = write_events(tmp_path / "a.log", STARTED)

    assert len(lines(path)) == 2


def test_a_file_that_cannot_be_written_is_a_line_of_the_log_and_no_fault(tmp_path, caplog):
    (tmp_path / "file").touch()

    with caplog.at_level(logging.INFO, "sampan"), events_to(tmp_path / "file/events.jsonl"):
        say(STARTED)
        say(STARTED)

    assert sum("events cannot be written" in record.message for record in caplog.records) == 1


def test_a_job_says_how_it_began_and_why_it_failed(tmp_path, capsys):
    path = tmp_path / "events.jsonl"
    words = ["report", "--spec", '{"config": {}}', "--results", str(tmp_path)]

    code = main([*words, "--out", str(tmp_path / "a.html"), "--events", str(path)])

    started, ended = lines(path)
    assert code == 2
    assert (started["event"], started["verb"]) == ("started", "report")
    assert (ended["event"], ended["outcome"]) == ("ended", "failed")
    printed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert printed == [f"error: {fault}" for fault in ended["faults"]]


def test_a_fault_of_ours_is_told_too(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setattr("sampan.steps.report.run", lambda args: 1 / 0)
    words = ["report", "--spec", '{"config": {}}', "--results", str(tmp_path), "--out", "a"]

    with pytest.raises(ZeroDivisionError):
        main([*words, "--events", str(path)])

    assert lines(path)[-1]["faults"] == ["ZeroDivisionError: division by zero"]


@pytest.mark.parametrize("kind", EVENTS.values(), ids=EVENTS)
def test_every_event_and_each_of_its_fields_stand_in_the_reference(kind):
    page = (ROOT / "docs/reference/events.md").read_text()

    section = page.partition(f"## `{kind.name}`\n")[2].partition("\n## ")[0]

    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert {field.name for field in dataclasses.fields(kind)} == {
        name for row in rows for name in re.findall(r"`(\w+)`", row)
    }
