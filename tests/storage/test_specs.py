import json
import shlex
import stat
import subprocess

import pytest

from sampan.errors import ConfigError
from sampan.storage.specs import SAFE_BYTES, argument, value_of

LARGE = {"test": [f"it's group {i}" for i in range(7500)]}


def test_small_settings_are_json(tmp_path):
    found = argument({"a": "it's {x}"}, tmp_path, write=True)

    assert found == '{"a": "it\'s {x}"}'
    assert value_of(found) == {"a": "it's {x}"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [LARGE, {"a": "'" * SAFE_BYTES}, ["é" * SAFE_BYTES]])
def test_settings_that_are_too_long_for_a_command_line_lie_in_a_file(tmp_path, value):
    found = argument(value, tmp_path, write=True)

    line = f"printf %s {shlex.quote(found)}"
    assert subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout == (
        found.encode()
    )
    assert value_of(found) == value


def test_a_file_of_settings_is_named_by_its_content_and_written_once(tmp_path):
    first = argument(LARGE, tmp_path, write=True)
    (path,) = (tmp_path / "specs").iterdir()
    before = path.stat()

    assert argument(LARGE, tmp_path, write=True) == first == f"@{path}"
    assert argument(LARGE | {"seed": 1}, tmp_path, write=True) != first
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert not before.st_mode & (stat.S_IXUSR | stat.S_IWOTH)


def test_a_dry_run_writes_nothing(tmp_path):
    found = argument(LARGE, tmp_path / "results", write=False)

    assert found.startswith(f"@{tmp_path}/results/specs/")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"is missing; Snakemake writes it when it runs"):
        value_of(found)


def test_settings_keep_their_order_where_it_is_asked_for(tmp_path):
    value = {"b": 1, "a": 2}

    assert list(json.loads(argument(value, tmp_path, write=True, sort=False))) == ["b", "a"]
    assert list(json.loads(argument(value, tmp_path, write=True))) == ["a", "b"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ConfigError, match="not JSON"):
        value_of(text)
