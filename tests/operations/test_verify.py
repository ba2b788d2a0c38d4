import json
import os
import shlex
import shutil
import time
from pathlib import Path

import pipeline
import pytest

from sampan.cli import main
from sampan.storage.lease import Lease


@pytest.fixture
def config(tmp_path):
    return pipeline.finished_texts(tmp_path)


@pytest.fixture
def results(config):
    return pipeline.results_of(config)


@pytest.fixture
def stage(config):
    return pipeline.folder_of(config, "text")


def verify(results, *flags):
    return main(["verify", "--results", str(results), *flags])


def flip(path, byte):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def test_what_is_whole_is_said_to_be_whole(results, capsys):
    assert verify(results, "--deep") == 0
    assert "everything that is recorded is there and whole" in capsys.readouterr().out


def test_a_results_folder_that_is_not_there_is_an_error(tmp_path, capsys):
    assert verify(tmp_path / "none") == 2
    assert "no such results folder" in capsys.readouterr().err


def run_again(config, targets):
    """The jobs that make these files, and the commits behind them, as Snakemake would."""
    for words in pipeline.commands(config, ["preprocess", "extract"], threads=1):
        if words[0] == "commit" or words[words.index("--receipt") + 1] in targets:
            assert main(words) == 0


def test_repair_makes_only_the_damaged_shard_again(config, results, stage, capsys):
    others = {path: path.stat().st_mtime_ns for path in stage.rglob("data.zarr/text/c.*")}
    flip(stage / "data.zarr/text/c.5.0", 3)
    verify(results, "--deep", "--repair")

    pipeline.run(config, ["preprocess"])

    made = [p.name for p, then in others.items() if p.stat().st_mtime_ns != then]
    assert made == ["c.5.0"]


def test_all_faults_of_all_stages_are_named_at_once(config, results, stage, capsys):
    features = pipeline.folder_of(config, "text.ngrams")
    cut(stage / "dataset.json", 0)
    (stage / "data.zarr/text/c.0.0").unlink()
    (features / "data.zarr/ngrams/c.9.0").unlink()
    (features / "receipts/part-00000.json").unlink()

    assert verify(results) == 2

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("error: ") for line in lines)


def test_damaged_features_are_made_again_bit_for_bit(config, results, capsys):
    before = pipeline.bytes_of(results)
    path = pipeline.folder_of(config, "text.ngrams") / "data.zarr/ngrams/c.9.0"
    cut(path, 10)
    assert verify(results) == 2
    assert verify(results, "--repair") == 0
    command = capsys.readouterr().out.splitlines()[-1]
    assert "features/text.ngrams@" in command

    run_again(config, shlex.split(command))

    assert verify(results, "--deep") == 0
    assert pipeline.bytes_of(results) == before


def test_what_needs_no_job_is_written_again_at_once(results, stage, capsys):
    before = pipeline.bytes_of(results)
    (stage / "layout.json").write_text("{}")
    (stage / "data.zarr/text/zarr.json").unlink()

    assert verify(results, "--repair") == 0

    assert "snakemake" not in capsys.readouterr().out
    assert pipeline.bytes_of(results) == before


def test_a_repair_that_was_interrupted_can_be_run_again(config, results, stage, monkeypatch):
    before = pipeline.bytes_of(results)
    flip(stage / "data.zarr/text/c.1.0", 3)
    (stage / "layout.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *words, **flags: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            verify(results, "--deep", "--repair")

    assert verify(results, "--deep") == 2
    assert verify(results, "--deep", "--repair") == 0
    pipeline.run(config, ["preprocess"], threads=1)

    assert verify(results, "--deep") == 0
    assert pipeline.bytes_of(results) == before


def test_a_file_of_somebody_else_among_the_arrays_is_named_and_left(results, stage, capsys):
    notes = stage / "data.zarr/text/notes.txt"
    notes.write_text("mine")
    elsewhere = results.parent / "elsewhere"
    elsewhere.write_bytes(b"not of the results")
    (stage / "data.zarr/text/c.99.0").symlink_to(elsewhere)

    assert verify(results, "--repair") == 0

    assert f"{notes}: is no file of this stage; move it elsewhere" in capsys.readouterr().out
    assert notes.exists()
    assert not (stage / "data.zarr/text/c.99.0").is_symlink()
    assert elsewhere.read_bytes() == b"not of the results"


def test_names_in_altered_files_lead_nowhere_outside(results, tmp_path, capsys):
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    model = results / "models/words@01234567"
    model.mkdir(parents=True)
    (model / "model.json").write_text(json.dumps(card_of(model, {"../../../outside.json": 1})))

    assert verify(results, "--repair") == 0

    assert outside.exists()


def test_shards_that_a_running_attempt_has_published_are_kept(results, stage):
    stray = stage / "data.zarr/text/c.77.0"
    shutil.copy(stage / "data.zarr/text/c.1.0", stray)

    with Lease(stage / "leases", "part-00001"):
        assert verify(results, "--repair") == 0
        assert stray.exists()
    assert verify(results, "--repair") == 0
    assert not stray.exists()


def test_an_unfinished_stage_is_not_damaged(results):
    features = next((results / "texts/features").iterdir())
    for path in (features / "dataset.json", *features.glob("data.zarr/**/zarr.json")):
        path.unlink()
    (features / "receipts/part-00001.json").unlink()

    assert verify(results, "--deep") == 0


# Models and orphans -------------------------------------------------------------------------------


def card_of(model, files):
    counted = {"train": 1}
    return {
        "model": model.name.partition("@")[0],
        "task": "classify",
        "dataset": "texts",
        "inputs": [],
        "settings": {},
        "split": {},
        "seed": 0,
        "counts": counted,
        "left_out": {},
        "metrics": {},
        "digests": {"settings": model.name.partition("@")[2], "features": {}, "samples": ""},
        "versions": {},
        "files": {name: {"bytes": size, "crc32c": "00000000"} for name, size in files.items()},
        "chance": {},
    }


def test_orphaned_temporary_files_are_named_and_the_old_ones_removed(results, stage, capsys):
    old, young = stage / "tmp/text.3.0a.partial", stage / "tmp/text.4.0b.partial"
    hidden = stage / "receipts/.part-00000.json.0c.partial"
    (stage / "tmp").mkdir(exist_ok=True)
    for path in (old, young, hidden):
        path.write_bytes(b"half")
    for path in (old, hidden):
        os.utime(path, (time.time() - 7200,) * 2)

    assert verify(results) == 2
    error = capsys.readouterr().err
    assert all(f"{path}: temporary file" in error for path in (old, young, hidden))

    assert verify(results, "--repair") == 0
    assert [path.exists() for path in (old, young, hidden)] == [False, True, False]
    assert verify(results, "--repair", "--orphan-seconds", "0") == 0
    assert verify(results) == 0
