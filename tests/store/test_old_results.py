"""
Results of an earlier sampan, kept as they were written, which today's reads, verifies and extends.

`old/` was made by version 0.1.0 of November 2026 from `old/config.json`; its ledgers, receipts and
`dataset.json` have none of the members that came later.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pipeline
import pytest

import sampan
from sampan import plugins
from sampan.cli import main

OLD = Path(__file__).parent / "old"
ROWS = 20
INVALID = [5, 17]
REVISIONS = {"preprocess": 2, "extract": 1, "modalities.text": 1, "encoders.ngrams": 1}
"""Those of then: a later one makes variants of its own, which adopt nothing."""


@pytest.fixture
def config(tmp_path, monkeypatch):
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name, revision in REVISIONS.items():
        monkeypatch.setitem(plugins.REVISIONS, name, revision)
    return json.loads((tmp_path / "config.json").read_text())


def test_old_results_open_with_all_their_variables(config):
    found = sampan.open("results/texts")

    assert found.sizes["sample"] == ROWS
    assert list(np.flatnonzero(~found["text.valid"].values)) == INVALID
    assert list(np.flatnonzero(~found["text.ngrams.valid"].values)) == INVALID
    assert np.isfinite(found["text.ngrams"].values[0]).all()
    assert found["label"].values[0] == "one"


def test_old_results_are_whole(config, capsys):
    assert main(["verify", "--deep", "--results", "results"]) == 0, capsys.readouterr().err


def test_damage_to_old_results_is_mended(config, capsys):
    (stage,) = Path("results/texts/preprocess").iterdir()
    before = pipeline.bytes_of(stage)
    (stage / "layout.json").write_text("{}")
    (stage / "data.zarr/text/c.1.0").unlink()

    assert main(["verify", "--repair", "--results", "results"]) == 0
    pipeline.run(config, ["preprocess"], threads=1)

    assert main(["verify", "--deep", "--results", "results"]) == 0, capsys.readouterr().err
    found = pipeline.bytes_of(stage)
    assert {path for path in before if found[path] != before[path]} == {"dataset.json"}


def test_a_run_of_today_adopts_and_extends_old_results(config, caplog):
    table = Path("texts.csv")
    table.write_text(table.read_text() + "s9,neun,nove,p3\n")
    shards = {path: path.stat().st_ino for path in Path("results").rglob("text/c.*.0")}

    pipeline.run(config, threads=1)

    found = sampan.open("results/texts")
    assert found.sizes["sample"] == ROWS + 1
    assert bool(found["text.ngrams.valid"].values[ROWS])
    kept = {path.name for path, inode in shards.items() if path.stat().st_ino == inode}
    assert kept == {"c.0.0", "c.1.0"}
