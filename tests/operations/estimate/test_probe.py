import logging
from pathlib import Path

import pytest
from pipeline import text_of, texts

from sampan.errors import DataError
from sampan.operations.estimate.input import source_bytes
from sampan.operations.estimate.probe import probe
from sampan.plan import Plan

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_probe_measures_every_step_on_real_samples_and_leaves_nothing(tmp_path, scratch, caplog):
    plan = Plan.parse(texts(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    caplog.set_level(logging.INFO, "sampan")

    with probe(plan, 64, threads=1, gpus=0) as measured:
        rates = [
            measured.scan("texts"),
            measured.index("texts"),
            measured.stage("preprocess", plan.preprocessed["texts", "text"]),
            measured.stage("extract", plan.features["texts", "text.ngrams"]),
        ]
        row_bytes, _ = measured.index_row_bytes("texts")
        entry = plan.config.datasets["texts"].modalities["text"]
        source = source_bytes(measured.folder, "texts", "text", entry)

    assert all(rate.job_seconds(64) > 0 for rate in rates)
    assert all(rate.source.startswith("probe of 64 samples here") for rate in rates)
    assert not any(rate.remark for rate in rates)
    assert row_bytes > 0
    expected = [len(text_of(row).encode()) for row in range(64)]
    assert source == pytest.approx(sum(expected) / 64)
    assert sorted(tmp_path.rglob("*")) == before
    assert "probe: texts/extract/" in caplog.text


def test_the_samples_come_from_files_all_over_the_source(tmp_path, scratch):
    config = texts(tmp_path)
    header, *lines = (tmp_path / "texts.csv").read_text().splitlines()
    (tmp_path / "texts.csv").unlink()
    for number in range(20):
        Path(tmp_path / f"{number}.csv").write_text("\n".join([header, *lines[number::20]]))
    config["datasets"]["texts"]["source"][0]["path"] = str(tmp_path / "*.csv")
    config["datasets"]["texts"]["features"] = {}
    plan = Plan.parse(config)

    with probe(plan, 16, threads=1, gpus=0) as measured:
        samples = measured.stage("preprocess", plan.preprocessed["texts", "text"]).samples_per_job
        keys = measured.folder.parent.glob("texts/*.parquet")
        files = len(list(keys))

    assert files == 7
    assert samples <= 64


def test_a_job_that_fails_says_why_and_leaves_nothing(tmp_path, scratch):
    config = texts(tmp_path, cell="path")
    plan = Plan.parse(config)

    with pytest.raises(DataError) as raised, probe(plan, 64, threads=1, gpus=0):
        pass

    assert raised.value.faults[0].startswith("probe: texts/preprocess/text@")
    assert "missing file" in raised.value.faults[0]
    assert list(scratch.iterdir()) == []


def test_a_source_that_is_not_there_is_the_users_to_mend(tmp_path, scratch):
    config = texts(tmp_path)
    (tmp_path / "texts.csv").unlink()

    with (
        pytest.raises(DataError, match="no such table"),
        probe(Plan.parse(config), 64, threads=1, gpus=0),
    ):
        pass

    assert list(scratch.iterdir()) == []
