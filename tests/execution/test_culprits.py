import csv

import fragile
import numpy as np
import pipeline
import pyarrow.parquet as pq
import pytest

import sampan
from sampan import plugins
from sampan.plugins import registry

ROWS = 96


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The folder of an installed plug-in; this process finds it, and so do its children."""
    site = fragile.install(tmp_path)
    monkeypatch.syspath_prepend(site)
    registry._entry_points.cache_clear()
    plugins.plugin_class.cache_clear()
    yield str(site)
    registry._entry_points.cache_clear()
    plugins.plugin_class.cache_clear()


def config_of(folder, words):
    """96 words in 6 shards, `words` (row → word) and otherwise good ones."""
    with (folder / "words.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "word"])
        table.writerows([i, words.get(i, f"good {i}")] for i in range(ROWS))
    return {
        "results": str(folder / "results"),
        "datasets": {
            "words": {
                "source": [{"kind": "table", "path": str(folder / "words.csv"), "key": "id"}],
                "capacity": 128,
                "rows_per_job": 128,
                "modalities": {
                    "word": {
                        "kind": "fragile",
                        "column": "word",
                        "rows_per_shard": 16,
                        "max_invalid": 0.2,
                    }
                },
                "features": {"word": ["fragile"]},
            }
        },
        "encoders": {"fragile": {"kind": "fragile", "rows_per_shard": 16}},
    }


def run(config, site, steps):
    """The index, then every command of these steps in a process of its own, 600 MB a worker."""
    pipeline.run(config, ["scan", "index"])
    for words in pipeline.commands(config, steps):
        granted = ["1200" if word == "8192" else word for word in words]
        done = pipeline.sampan(*granted, PYTHONPATH=site, SAMPAN_CPU_SECONDS="1")
        if done.returncode:
            break
    return done


def quarantine(config, name):
    folder = pipeline.folder_of(config, name, "words")
    table = pq.read_table(folder / "quarantine" / "part-00000.parquet").to_pydict()
    return dict(zip(table["row"], table["reason"], strict=True))


def test_samples_that_kill_their_decoder_are_quarantined_and_all_others_are_kept(site, tmp_path):
    words = {3: "print", 5: "segfault", 20: "hang", 40: "memory", 41: "bad", 70: "exit"}
    config = config_of(tmp_path, words | {71: "segfault"})

    done = run(config, site, ["preprocess"])

    assert done.returncode == 0, done.stderr
    assert quarantine(config, "word") == {
        5: "crashed its decoder: segmentation fault",
        20: "hung its decoder: more than 1 CPU seconds",
        40: "needs too much memory: more than the 600 MB of a worker",
        41: "bad word: as asked",
        70: "ended its decoder: exit status 3",
        71: "crashed its decoder: segmentation fault",
    }
    found = sampan.open(tmp_path / "results" / "words")
    good = [i for i in range(ROWS) if i not in (5, 20, 40, 41, 70, 71)]
    assert np.flatnonzero(found["word.valid"].values).tolist() == good
    assert [bytes(row).rstrip(b"\0").decode() for row in found["word"].values[good]] == [
        words.get(i, f"good {i}") for i in good
    ]


def test_a_row_that_kills_its_encoder_is_quarantined_and_all_others_are_kept(site, tmp_path):
    config = config_of(tmp_path, {10: "later se"})

    done = run(config, site, ["preprocess", "extract"])

    assert done.returncode == 0, done.stderr
    assert quarantine(config, "word.fragile") == {10: "crashed its decoder: segmentation fault"}
    valid = sampan.open(tmp_path / "results" / "words")["word.fragile.valid"].values
    assert np.flatnonzero(~valid).tolist() == [10]


def test_a_bug_of_a_plug_in_ends_the_job_and_accuses_no_sample(site, tmp_path):
    config = config_of(tmp_path, {20: "segfault", 18: "bug"})

    done = run(config, site, ["preprocess"])

    assert done.returncode == 1
    assert "ZeroDivisionError: a bug of the plug-in" in done.stderr
    assert not list((tmp_path / "results").rglob("receipts/part-00000.json"))[2:]
