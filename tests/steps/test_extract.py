import json
import shutil
from pathlib import Path

import numpy as np
import pipeline
import pyarrow.parquet as pq
import pytest
import zarr
from steps import running

from sampan.cli import main
from sampan.encoders.hog import Hog
from sampan.encoders.ngrams import Ngrams
from sampan.plan import Jobs, Plan
from sampan.storage.durable import read_json

MODULE = '''
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Odd:
    """Gives what a text asks for."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    workers: ClassVar[str] = "processes"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    batch: int = 8
    given: int = 3

    def memory_bytes(self):
        return 0

    def check(self, modality):
        return []

    def load(self, modality, device):
        return Loaded(self.given)


@dataclass
class Loaded:
    given: int
    dimensions: int = 3

    def __call__(self, data, length):
        import numpy as np

        out = np.ones((len(data), self.given), np.float32)
        for i, row in enumerate(data):
            text = bytes(row).rstrip(b"\\0").decode()
            out[i, 0] = {"nan": np.nan, "inf": np.inf, "large": 1e6}.get(text, 1.0)
        return out
'''
METADATA = "Metadata-Version: 2.1\nName: odd\nVersion: 1\n"
WORDS = ["fine", "nan", "fine", "inf", "large", " ", "fine", "fine"]


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory):
    """Pictures of which only the features are to be made."""
    config = running.pictures(tmp_path_factory.mktemp("pictures"), rows=48)
    pipeline.run(config, ("scan", "index", "preprocess"), threads=1)
    return config


@pytest.fixture(scope="module")
def undisturbed(preprocessed, tmp_path_factory):
    config = copied(preprocessed, tmp_path_factory.mktemp("undisturbed") / "results")
    pipeline.run(config, ["extract"])
    return config


def copied(config, results):
    shutil.copytree(config["results"], results)
    return running.elsewhere(config, results)


def features(config):
    return pipeline.folder_of(config, "image.hog", "pictures")


def commit(config):
    (words,) = [words for words in pipeline.commands(config, ["extract"]) if words[0] == "commit"]
    assert main(words) == 0


def test_a_row_that_is_not_valid_above_is_nan_not_valid_and_counted(undisturbed):
    stage = zarr.open_group(features(undisturbed) / "data.zarr", mode="r")
    hog, valid = np.asarray(stage["hog"]), np.asarray(stage["valid"])
    about = read_json(features(undisturbed) / "dataset.json")

    assert np.flatnonzero(~valid).tolist() == [3]
    assert np.isnan(hog[3]).all()
    assert np.isfinite(hog[valid]).all()
    assert (about["rows"], about["valid"]) == (48, 47)
    assert about["reasons"] == {"image is not valid": 1}


def test_a_job_killed_twice_ends_with_the_same_bytes(preprocessed, undisturbed, tmp_path):
    config = copied(preprocessed, tmp_path / "results")
    words = running.job(config, "extract", threads=1)

    kills = [
        running.Job(words, tmp_path / "log").kill_when(
            lambda least=least: len(running.recorded(features(config))) >= least
        )
        for least in (1, 5)
    ]
    ended = running.Job(words, tmp_path / "log").wait()

    assert (kills, ended) == ([True, True], 0)
    assert sorted(running.recorded(features(config))) == list(range(12))  # none was done twice
    commit(config)
    shutil.rmtree(features(config) / "tmp")
    made, expected = map(pipeline.bytes_of, (features(config), features(undisturbed)))
    assert made == {name: data for name, data in expected.items() if not name.startswith("tmp")}


def test_a_job_with_nothing_left_to_do_loads_no_encoder(undisturbed, tmp_path, monkeypatch):
    config = copied(undisturbed, tmp_path / "results")
    words = running.job(config, "extract")
    receipt = Path(words[words.index("--receipt") + 1])
    first = receipt.read_bytes()
    receipt.unlink()
    loads, pools = running.count_loads(monkeypatch, Hog), running.count_pools(monkeypatch)

    assert main(words) == 0

    assert receipt.read_bytes() == first
    assert (loads, pools) == ([], [])


def test_a_job_of_seconds_starts_no_dask_and_loads_no_encoder_that_says_its_dimensions(
    preprocessed, tmp_path, monkeypatch
):
    config = copied(preprocessed, tmp_path / "results")
    loads, pools = running.count_loads(monkeypatch, Hog), running.count_pools(monkeypatch)

    assert main(running.job(config, "extract")) == 0

    assert (loads, pools) == ([], ["children"])


def test_a_granted_gpu_is_no_matter_to_an_encoder_that_runs_on_the_cpu(tmp_path, monkeypatch):
    config = pipeline.texts(tmp_path, rows=10)
    pipeline.run(config, ("scan", "index", "preprocess"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    assert main([*running.job(config, "extract"), "--gpus", "1"]) == 0


def test_a_partition_beyond_the_data_loads_no_encoder(tmp_path, monkeypatch):
    config = pipeline.texts(tmp_path, rows=10)
    pipeline.run(config, ("scan", "index", "preprocess"))
    loads, pools = running.count_loads(monkeypatch, Ngrams), running.count_pools(monkeypatch)

    assert main(running.job(config, "extract", part=3)) == 0

    assert (loads, pools) == ([], [])

    plan = Plan.parse(config)
    receipt = read_json(pipeline.receipts_of(plan, plan.features["texts", "text.ngrams"])[3])
    assert (receipt["part"], receipt["rows"], receipt["valid_files"]) == (3, 0, {})


def test_a_grant_that_is_too_small_is_refused_before_the_encoder_is_loaded(
    preprocessed, tmp_path, monkeypatch, capsys
):
    config = copied(preprocessed, tmp_path / "results")
    loads = running.count_loads(monkeypatch, Hog)

    code = main(running.job(config, "extract", memory_mb=500))

    assert (code, loads) == (2, [])
    error = capsys.readouterr().err
    assert "error: extract image.hog@" in error
    assert "MB of memory with 2 threads; granted: 500 MB" in error


def test_a_damaged_shard_above_is_an_error_and_nothing_is_made(preprocessed, tmp_path, capsys):
    config = copied(preprocessed, tmp_path / "results")
    above = pipeline.folder_of(config, "image", "pictures")
    (above / "data.zarr/image/c.2.0.0.0").write_bytes(b"short")

    code = main(running.job(config, "extract"))

    assert code == 2
    assert "c.2.0.0.0: has 5 bytes; recorded:" in capsys.readouterr().err
    assert not list(features(config).glob("receipts/*"))


@pytest.fixture
def odd(tmp_path):
    """Texts for an encoder of a user's own, which is installed beside sampan."""
    folder = tmp_path / "plugins"
    (folder / "odd-1.dist-info").mkdir(parents=True)
    (folder / "odd.py").write_text(MODULE)
    (folder / "odd-1.dist-info/METADATA").write_text(METADATA)
    entry = "[sampan.encoders]\nodd = odd:Odd\n"
    (folder / "odd-1.dist-info/entry_points.txt").write_text(entry)
    config = pipeline.texts(tmp_path)
    running.write_table(tmp_path / "texts.csv", ["id", "text"], list(enumerate(WORDS)))
    dataset = config["datasets"]["texts"] | {"capacity": 64}
    dataset["modalities"]["text"]["max_invalid"] = 0.5
    config["datasets"]["texts"] = {
        name: value for name, value in dataset.items() if name not in ("label", "group")
    }
    pipeline.run(config, ("scan", "index", "preprocess"))
    return config, folder


def odd_words(config, **encoder):
    """The extract job of the plug-in, which this process does not know."""
    plan = Plan.parse(config)
    known = plan.features["texts", "text.ngrams"]
    stage = known._replace(name="text.odd", digest="0" * 64)
    spec = Jobs(plan).extract("texts", "text.ngrams").to_json()
    spec |= {"stage": stage._asdict(), "encoder": {"kind": "odd", **encoder}}
    variant = plan.results / stage.folder
    where = ["--results", str(plan.results), "--part", "0"]
    receipt = ["--receipt", str(variant / "receipts/part-00000.json")]
    grant = ["--patience-seconds", "0"]
    return variant, ["extract", "--spec", json.dumps(spec), *where, *receipt, *grant]


def test_an_embedding_that_is_not_finite_is_quarantined_with_its_reason(odd):
    config, folder = odd
    variant, words = odd_words(config)

    done = pipeline.sampan(*words, PYTHONPATH=str(folder))

    assert done.returncode == 0, done.stderr
    table = pq.read_table(variant / "quarantine/part-00000.parquet").to_pydict()
    assert dict(zip(table["row"], table["reason"], strict=True)) == {
        1: "the embedding is not finite",
        3: "the embedding is not finite",
        4: "the embedding is beyond float16",
        5: "text is not valid",
    }
    assert read_json(variant / "receipts/part-00000.json")["valid"] == 4


def test_an_encoder_that_breaks_its_contract_is_named(odd):
    config, folder = odd
    variant, words = odd_words(config, given=2)

    done = pipeline.sampan(*words, PYTHONPATH=str(folder))

    assert done.returncode == 2, done.stderr
    assert "its encoder gave embeddings (7, 2) for 7 rows of 3 dimensions" in done.stderr
    assert not list(variant.glob("receipts/*"))
