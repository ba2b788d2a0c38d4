"""What each verb of a run loads: what it does not use would be paid for by every job."""

import json
import subprocess
import sys

import pipeline
import pytest
from steps import report_run

LIBRARIES = (
    *("PIL", "dask", "distributed", "jinja2", "numpy", "pandas", "pyarrow", "scipy", "skimage"),
    *("sklearn", "snakemake", "soundfile", "torch", "transformers", "xarray", "zarr"),
    "torch._inductor",
)

CODE = """
import functools, json, sys
from sampan.cli import main
from sampan.execution import rounds

file, names, words = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]

def say(who):
    with open(file, "a") as lines:
        print(json.dumps([who, [name for name in names if name in sys.modules]]), file=lines)

made = rounds._make_patiently

@functools.wraps(made)
def make(task):
    try:
        return made(task)
    finally:
        say("worker")

rounds._make_patiently = make
code = main(words)
say("job")
sys.exit(code)
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Verb, or its workers → the libraries that its jobs had loaded when they ended."""
    folder = tmp_path_factory.mktemp("loads")
    config = report_run.config_of(
        report_run.make_source(folder),
        folder / "results",
        digits={"task": "classify", "inputs": ["image.hog"], "epochs": 2},
    )
    found: dict[str, set[str]] = {}

    def run(words: list[str]) -> int:
        file = folder / "loaded"
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(file), json.dumps(LIBRARIES), *map(str, words)],
            env=pipeline.environment_of(),
            check=False,
        )
        for who, names in map(json.loads, file.read_text().splitlines()):
            name = words[0] if who == "job" else f"{words[0]}'s worker"
            found.setdefault(name, set()).update(names)
        file.unlink()
        return done.returncode

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_run, "main", run)
        report_run.make(config)
    return found


LOADED = {
    "scan": {"numpy"},
    "index": {"numpy", "pandas", "pyarrow"},
    "preprocess": {"numpy", "pandas", "pyarrow"},  # where rows are refused; pyarrow loads pandas
    "preprocess's worker": {"PIL", "numpy", "pyarrow"},
    "extract": {"numpy", "pandas", "pyarrow"},
    "extract's worker": {"numpy", "scipy", "skimage"},
    "commit": {"numpy"},
    "train": {"numpy", "pandas", "pyarrow", "torch", "torch._inductor"},  # by torch's optimisers
    "evaluate": {"numpy", "pandas", "pyarrow", "torch"},
}


@pytest.mark.parametrize("who", LOADED)
def test_a_verb_loads_no_library_that_it_does_not_use(who, loaded):
    assert loaded[who] == LOADED[who]


def test_every_verb_was_looked_at(loaded):
    assert loaded.keys() == LOADED.keys()
