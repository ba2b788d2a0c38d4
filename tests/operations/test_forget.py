import errno
from pathlib import Path

import pipeline
import pytest

from sampan.cli import main


@pytest.fixture
def config(tmp_path):
    return pipeline.finished_texts(tmp_path)


@pytest.fixture
def stage(config):
    return pipeline.folder_of(config, "text")


def forget(config, *words):
    return main(["forget", "--results", config["results"], *words])


def shards(stage):
    return {path.name: path.stat().st_mtime_ns for path in stage.glob("data.zarr/text/c.*")}


def made_again(config, stage, before):
    pipeline.run(config, ["preprocess"])
    after = shards(stage)
    return sorted(int(name.split(".")[1]) for name in before if after[name] != before[name])


def test_a_forgotten_stage_is_computed_again_and_stays_visible_meanwhile(config, stage, capsys):
    bytes_before, before = pipeline.bytes_of(stage), shards(stage)

    assert forget(config, "text") == 0

    command = capsys.readouterr().out.splitlines()[-1]
    assert command.startswith("snakemake ")
    assert [f"part-{part:05d}.json" in command for part in range(5)] == [True] * 4 + [False]
    assert not list((stage / "receipts").iterdir())
    assert (stage / "dataset.json").exists()
    assert made_again(config, stage, before) == list(range(10))
    assert pipeline.bytes_of(stage) == bytes_before


def test_of_a_forgotten_partition_only_its_shards_are_computed_again(config, stage, capsys):
    before = shards(stage)

    assert forget(config, stage.name, "--part", "1") == 0

    assert capsys.readouterr().out.strip().endswith("receipts/part-00001.json")
    assert made_again(config, stage, before) == [4, 5, 6, 7]


def test_a_partition_that_was_never_finished_is_forgotten_with_its_stage(config, stage):
    before = shards(stage)
    (stage / "receipts/part-00001.json").unlink()

    assert forget(config, "text") == 0

    assert made_again(config, stage, before) == list(range(10))


def test_a_partition_beyond_the_data_can_be_forgotten(config, stage):
    assert forget(config, "text", "--part", "3") == 0
    assert not (stage / "receipts/part-00003.json").exists()


def test_what_is_not_there_is_an_error_that_lists_what_is(config, stage, capsys):
    assert forget(config, "sound") == 2
    error = capsys.readouterr().err
    assert "nothing is called 'sound'" in error
    assert stage.name in error

    assert forget(config, "text", "--part", "9") == 2
    assert "has no partition 9" in capsys.readouterr().err


def test_a_name_with_several_variants_needs_its_digest(config, stage, capsys):
    config["datasets"]["texts"]["modalities"]["text"]["bytes"] = 64
    pipeline.run(config, ["preprocess"])

    assert forget(config, "text") == 2
    assert "2 variants are called 'text'" in capsys.readouterr().err
    assert forget(config, stage.name) == 0
    assert forget(config, "text", "--dataset", "other") == 2


def test_a_forgotten_model_loses_its_weights_metrics_and_checkpoints(config, capsys):
    folder = pipeline.results_of(config) / "models/words@01234567"
    (folder / "checkpoints/step-1").mkdir(parents=True)
    for name in ("model.safetensors", "metrics.json", "model.json", "samples.parquet"):
        (folder / name).write_text("{}")

    assert forget(config, "words") == 0

    assert [path.name for path in folder.iterdir()] == ["samples.parquet"]
    assert "model.safetensors" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["text", "word"])
def test_a_read_only_mount_is_an_error_line(name, tmp_path, monkeypatch, capsys):
    config = pipeline.finished_texts(tmp_path)
    results = pipeline.results_of(config)
    model = results / "models/word@01234567"
    model.mkdir(parents=True)

    def read_only(path, **flags):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", read_only)

    assert main(["forget", name, "--results", str(results)]) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.endswith("cannot be written: Read-only file system\n")
