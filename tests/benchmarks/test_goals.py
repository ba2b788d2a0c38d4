"""What decides whether a goal is said to be met."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def goals(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import goals

    yield goals
    sys.modules.pop("goals", None)


def found(goals, *values, goal=0.9, **more):
    return goals.Found(hop="hop", measured="÷ peer", values=values, goal=goal, **more)


def test_the_median_decides_and_not_the_best_repeat(goals):
    assert found(goals, 0.8, 0.85, 1.2).verdict == "MISSED"
    assert found(goals, 0.5, 0.95, 1.2).verdict == "met"


def test_of_seconds_and_memory_less_is_better(goals):
    assert found(goals, 1.4, goal=1.5, at_most=True).verdict == "met"
    assert found(goals, 1.6, goal=1.5, at_most=True).verdict == "MISSED"


def test_what_was_not_measured_is_neither_met_nor_missed(goals):
    assert found(goals, note="no GPU").verdict == "not measured"


def test_a_ratio_is_of_two_rates_of_the_same_turn(goals):
    assert goals.ratios([2.0, 3.0], [1.0, 6.0]) == (2.0, 0.5)


def test_ways_are_measured_in_turns(goals):
    seen = []
    ways = {name: lambda name=name: seen.append(name) or 1.0 for name in ("ours", "theirs")}

    goals.in_turns(ways, 2)

    assert seen == ["ours", "theirs", "ours", "theirs"]


def test_a_missed_goal_is_printed_as_missed_and_all_of_it_is_written(goals, tmp_path, capsys):
    report = goals.Report([found(goals, 0.5, 0.6, 0.7)], {"rate": 12})

    goals.show(report, tmp_path / "bench.json")

    assert "| 0.60 × | 0.50–0.70 | ≥ 0.9 × | MISSED |" in capsys.readouterr().out
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["found"][0]["values"] == [0.5, 0.6, 0.7]
    assert written["machine"]["cores"] >= 1
    assert "torch" in written["machine"]["versions"]
