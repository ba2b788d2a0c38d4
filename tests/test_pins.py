"""The hashed pins say the same as `constraints.txt`."""

import re
import tomllib

import pytest
from workflows.clone import ROOT

UNHASHED = {"torch"}  # from an index of the user's choice
OTHERS = {"webdataset", "braceexpand"}  # of .[bench]


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path):
    found = re.findall(r"^([A-Za-z][\w.-]*)==(\S+)", (ROOT / path).read_text(), re.MULTILINE)
    return {normalised(name): version for name, version in found}


@pytest.mark.parametrize("path", ["envs/requirements.txt", "envs/requirements-test.txt"])
def test_hashed_pins_are_those_of_the_constraints(path):
    constraints = pins("constraints.txt")

    hashed = pins(path)

    assert len(hashed) > 100
    assert hashed == {name: constraints[name] for name in hashed}


def test_everything_but_torch_has_a_hash():
    constraints = pins("constraints.txt")

    assert constraints.keys() - pins("envs/requirements-test.txt").keys() <= UNHASHED | OTHERS


@pytest.mark.parametrize("path", ["envs/requirements.txt", "envs/requirements-test.txt"])
def test_each_pin_has_hashes(path):
    for pin in re.split(r"^(?=\w)", (ROOT / path).read_text(), flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in pin, pin


def test_the_minimum_versions_are_the_lower_bounds():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())
    bounds = [
        re.match(r"([\w.-]+).*?>=([\d.]+)", line) for line in about["project"]["dependencies"]
    ]

    assert all(bounds)
    assert pins("envs/minimum.txt") == {normalised(m[1]): m[2] for m in bounds if m}
