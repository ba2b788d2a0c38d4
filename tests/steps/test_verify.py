import json
import os
import shlex
import shutil
import time

import google_crc32c
import pipeline
import pytest

from sampan.cli import main


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


DAMAGES = {
    "a missing shard": (lambda s: (s / "data.zarr/text/c.5.0").unlink(), "text/c.5.0: is missing"),
    "a truncated shard": (
        lambda s: cut(s / "data.zarr/length/c.5", -1),
        "length/c.5: has 83 bytes",
    ),
    "a zero-byte shard": (lambda s: cut(s / "data.zarr/text/c.5.0", 0), "text/c.5.0: has 0 bytes"),
    "a missing shard of valid": (lambda s: (s / "data.zarr/valid/c.1").unlink(), "valid/c.1: is"),
    "a lost ledger": (lambda s: shutil.rmtree(s / "ledger"), "shard 5 has no record in the ledger"),
    "a lost receipt": (lambda s: (s / "receipts/part-00001.json").unlink(), "part-00001.json: is"),
    "an empty receipt": (lambda s: cut(s / "receipts/part-00001.json", 0), "is damaged"),
    "a lost quarantine": (lambda s: (s / "quarantine/part-00001.parquet").unlink(), "parquet: is"),
    "a lost layout": (lambda s: (s / "layout.json").unlink(), "layout.json: is missing"),
    "lost metadata": (lambda s: (s / "data.zarr/text/zarr.json").unlink(), "text/zarr.json: is"),
    "a damaged dataset": (lambda s: cut(s / "dataset.json", 100), "dataset.json: is damaged"),
}
DEEP = {
    "a flipped bit": (lambda s: flip(s / "data.zarr/text/c.5.0", 3), "text/c.5.0: its bytes are"),
    "a flipped bit of the index": (lambda s: flip(s / "data.zarr/text/c.5.0", -6), "its bytes are"),
    "a flipped bit of valid": (lambda s: flip(s / "data.zarr/valid/c.1", 3), "valid/c.1: its byte"),
}


@pytest.mark.parametrize("name", [*DAMAGES, *DEEP])
def test_damage_is_named_and_repair_and_the_jobs_it_names_mend_it(
    name, config, results, stage, capsys
):
    before = pipeline.bytes_of(results)
    damage, message = (DAMAGES | DEEP)[name]
    damage(stage)
    if name in DEEP:
        assert verify(results) == 0, "sizes are right: only reading finds it"
    capsys.readouterr()

    assert verify(results, "--deep") == 2

    error = capsys.readouterr().err
    assert f"error: {stage}" in error
    assert message in error
    assert f"sampan verify --deep --repair --results {results}" in error

    assert verify(results, "--deep", "--repair") == 0

    printed = capsys.readouterr().out
    assert message in printed
    _, command = printed.strip().rsplit("\n", 1)
    assert all(path.startswith(str(stage)) for path in shlex.split(command)[3:])
    run_again(config, shlex.split(command)[3:])
    assert verify(results, "--deep") == 0
    assert pipeline.bytes_of(results) == before


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


# The index ----------------------------------------------------------------------------------------


def copy_part(index, one, other):
    shutil.copy(index / f"part-{one:05d}.parquet", index / f"part-{other:05d}.parquet")


INDEX_DAMAGES = {
    "a missing part": lambda index: (index / "part-00001.parquet").unlink(),
    "a truncated part": lambda index: cut(index / "part-00001.parquet", -20),
    "a missing plan": lambda index: (index / "plan/part-00001.json").unlink(),
    "a missing receipt": lambda index: (index / "receipts/text/part-00001.json").unlink(),
    "an empty receipt": lambda index: cut(index / "receipts/text/part-00001.json", 0),
    "another part": lambda index: copy_part(index, 0, 1),
}


@pytest.mark.parametrize("name", INDEX_DAMAGES)
def test_damage_to_the_index_is_named_and_its_job_mends_it(name, config, results, capsys):
    receipts = results / "texts/index/receipts"
    before = pipeline.bytes_of(receipts)
    INDEX_DAMAGES[name](results / "texts/index")

    assert verify(results, "--deep") == 2
    assert "part-00001" in capsys.readouterr().err
    assert verify(results, "--deep", "--repair") == 0

    assert capsys.readouterr().out.strip().endswith("index/receipts/columns/part-00001.json")
    pipeline.run(config, ["scan", "index"])
    assert verify(results, "--deep") == 0
    assert pipeline.bytes_of(receipts) == before


# Models and orphans -------------------------------------------------------------------------------


def test_files_of_a_model_are_checked_against_its_card(tmp_path, capsys):
    folder = tmp_path / "results/models/words@01234567"
    folder.mkdir(parents=True)
    weights = folder / "model.safetensors"
    weights.write_bytes(b"weights")
    crc = f"{google_crc32c.value(b'weights'):08x}"
    card = {"files": {weights.name: {"bytes": 7, "crc32c": crc}}}
    (folder / "model.json").write_text(json.dumps(card))

    assert verify(tmp_path / "results", "--deep") == 0
    flip(weights, 0)
    assert verify(tmp_path / "results") == 0
    assert verify(tmp_path / "results", "--deep") == 2
    cut(weights, 3)
    assert verify(tmp_path / "results") == 2
    assert f"{weights}: is missing or has another size" in capsys.readouterr().err

    assert verify(tmp_path / "results", "--repair") == 0
    assert not weights.exists()
    assert capsys.readouterr().out.strip().endswith(str(weights))


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
