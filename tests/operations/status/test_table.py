import io
import json
from pathlib import Path

import pytest

from sampan.operations.status.table import Screen, as_json, share, text
from sampan.runs.jobs import Job, Moment
from sampan.runs.stages import StageStatus, Status
from sampan.storage.lease import Attempt

INDEX = StageStatus(dataset="d", kind="index", name="", jobs=4, open=(), rows=150, valid=150)


def job(state, number=0, **more):
    name = f"part-{number:05d}"
    return Job(name=name, state=state, log=Path(f"results/logs/{name}.log"), **more)


def stage(*jobs, **more):
    about = {"dataset": "d", "kind": "preprocess", "name": "image", "jobs": 20}
    return StageStatus(**(about | {"open": jobs} | more))


def status(*stages, runs=()):
    page = Path("results/reports/5c34d8b6.html")
    moment = Moment(now=9e5, runs=runs)
    return Status(results=Path("results"), page=page, moment=moment, stages=stages)


def snakemake(age_seconds=1.0, job=""):
    times = {"age_seconds": age_seconds, "touched": 9e5 - age_seconds, "since": 8e5}
    path = Path("run.000001.json")
    return Attempt(name="run", number=1, path=path, host="login2", job=job, **times)


def lines_of(found, screen=Screen()):  # noqa: B008
    return text(found, "config.yaml", screen)


def test_a_stage_is_a_line_with_its_jobs_samples_rate_and_time_left():
    busy = stage(
        *(job("running", n) for n in range(3)),
        *(job("waiting", n) for n in range(3, 8)),
        rows=4096,
        valid=2000,
        quarantined=11,
        samples_per_second=2048.4,
        seconds_left=4000.0,
    )

    _, _, header, index, line = lines_of(status(INDEX, busy))

    assert header.split() == (
        ["stage", "done", "running", "waiting", "failed", "valid", "quarantined", "rate", "left"]
    )
    assert line.split(maxsplit=2)[:2] == ["preprocess", "image"]
    assert line.split()[2:] == (
        ["12/20", "3", "5", "0", "2,000", "of", "4,096", "11", "2,048/s", "1", "h", "7", "min"]
    )
    assert index.split() == ["index", "4/4", "0", "0", "0", "150", "of", "150"]


def test_columns_are_aligned():
    lines = lines_of(status(INDEX, stage(job("running"), rows=150, valid=0, quarantined=0)))[2:]

    words = ("done", "4/4", "19/20")
    ends = {line.index(word) + len(word) for line, word in zip(lines, words, strict=True)}
    assert len(ends) == 1


def test_samples_that_were_not_counted_yet_are_at_most_the_capacity():
    fresh = stage(job("waiting"), rows=256, at_most=True, valid=0, quarantined=0)

    assert "0 of at most 256" in lines_of(status(fresh))[-1]


def test_several_datasets_name_theirs():
    lines = lines_of(status(INDEX, StageStatus(**(vars(INDEX) | {"dataset": "e"}))))

    assert [line.split()[:2] for line in lines[3:]] == [["d", "index"], ["e", "index"]]


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ((), "no Snakemake is at work; run it again to go on"),
        ((snakemake(),), "Snakemake is at work on login2 since 1970-01-"),
        ((snakemake(job="77"),), "Snakemake is at work on login2, Slurm job 77, since 1970-01-"),
        ((snakemake(300.0),), "Snakemake was killed on login2 5 min ago; run it again to go on"),
    ],
)
def test_the_first_line_says_whether_snakemake_is_at_work(runs, said):
    first = lines_of(status(stage(job("waiting")), runs=runs))[0]

    assert first.startswith(f"results, by config.yaml: {said}")


def test_the_first_line_says_when_everything_is_done():
    first = lines_of(status(INDEX, runs=(snakemake(300.0),)))[0]

    assert first == (
        "results, by config.yaml: everything is done; look at results/reports/5c34d8b6.html"
    )


def test_a_failed_jobs_last_lines_are_shown_with_the_path_of_its_log():
    broken = stage(job("failed", 3, why="failed", lines=("at work", "error: \x1b[2Jno space")))

    lines = lines_of(status(broken))

    assert lines[-3:] == [
        "preprocess image part-00003 failed: results/logs/part-00003.log",
        "    at work",
        "    error: \\u001b[2Jno space",
    ]


def test_of_many_failed_jobs_five_are_shown_and_the_others_counted():
    broken = stage(*(job("failed", n, why="failed", lines=("error: x",)) for n in range(17)))

    lines = lines_of(status(broken))

    assert sum("part-" in line for line in lines) == 5
    assert lines[-1] == "and 12 more"


def test_a_bar_is_drawn_where_the_terminal_is_wide_enough():
    half = stage(job("running"), rows=100, valid=49, quarantined=1)
    narrow = len(lines_of(status(half))[-1])

    assert "█" not in "".join(lines_of(status(half), Screen(width=narrow)))
    (bar,) = lines_of(status(half), Screen(width=narrow + 40))[-1].split()[-1:]
    assert bar == "█" * 10 + "░" * 10
    (bar,) = lines_of(status(half), Screen(width=narrow + 40, blocks=False))[-1].split()[-1:]
    assert bar == "#" * 10 + "." * 10


def test_no_line_of_the_table_is_wider_than_a_terminal_that_it_fits():
    half = stage(job("running"), rows=100, valid=49, quarantined=1)
    narrow = len(lines_of(status(half))[-1])

    for width in range(narrow, narrow + 40):
        assert max(map(len, lines_of(status(half), Screen(width=width))[2:])) <= width


@pytest.mark.parametrize(
    ("found", "share_done"),
    [
        (INDEX, 1.0),
        (stage(job("running"), rows=100, valid=20, quarantined=5), 0.25),
        (stage(*[job("waiting")] * 15, kind="models"), 0.25),
        (stage(job("waiting"), rows=10, valid=12, quarantined=0), 1.0),
    ],
)
def test_how_much_is_done_goes_by_samples_or_else_by_jobs(found, share_done):
    assert share(found) == share_done


def test_colours_are_only_for_terminals_and_never_where_they_are_not_wanted():
    found = status(INDEX, stage(job("failed", why="failed"), job("running", 1)))

    plain, coloured = (lines_of(found, Screen(colours=colours)) for colours in (False, True))

    assert "\x1b" not in "".join(plain)
    assert "\x1b[32m4/4\x1b[0m" in "".join(coloured).replace("  ", "")
    assert Screen.of(io.StringIO()) == Screen(width=0, colours=False)


def test_the_numbers_for_programs_are_those_for_people():
    broken = job("failed", 3, why="failed", lines=("error: x",))
    found = status(
        INDEX,
        stage(broken, job("running", 4), rows=9, valid=5, quarantined=2, seconds_left=3.5),
        runs=(snakemake(job="77"),),
    )

    value = json.loads(json.dumps(as_json(found, "config.yaml")))

    assert value["done"] is False
    assert value["snakemake"] == (
        {"host": "login2", "job": "77", "since": "1970-01-10T06:13:20+00:00"}
    )
    assert value["stages"][0]["samples"] == (
        {"all": 150, "at_most": False, "valid": 150, "quarantined": None, "absent": None}
    )
    second = value["stages"][1]
    assert second["jobs"] == {"all": 20, "done": 18, "running": 1, "waiting": 0, "failed": 1}
    assert second["samples"]["quarantined"] == 2
    assert second["seconds_left"] == 3.5
    assert second["failed"] == [
        {"job": "part-00003", "log": str(broken.log), "why": "failed", "lines": ["error: x"]}
    ]


def test_samples_without_a_value_have_a_column_where_there_are_any():
    some = stage(rows=100, valid=60, quarantined=1, absent=39)

    *_, header, line = lines_of(status(some))

    assert header.split()[5:8] == ["valid", "quarantined", "absent"]
    assert line.split()[-2:] == ["1", "39"]
    assert share(some) == 1
