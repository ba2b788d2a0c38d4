"""Every kind of damage that was tried on a finished run: verify names it, repair leads back."""

import json
import os
import shutil
import time
from pathlib import Path

import pipeline
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from operations import verified
from operations.verified import edit_records, edited
from steps import running

from sampan.cli import main
from sampan.storage.durable import with_checksum


@pytest.fixture(scope="module")
def undisturbed():
    folder, config = verified.finished()
    return folder, config, pipeline.bytes_of(folder / "results")


@pytest.fixture
def config(undisturbed, tmp_path, monkeypatch):
    folder, config, _ = undisturbed
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return config


class Places:
    """The folders of a run, by short names."""

    def __init__(self, config):
        self.results = pipeline.results_of(config)
        self.index = self.results / "texts/index"
        self.stage = pipeline.folder_of(config, "text")
        self.features = pipeline.folder_of(config, "text.ngrams")
        self.model = running.model_folder(config, "word")


def flip(path, byte=3):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def swap(one, other):
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def rewrite(path, change):
    """A Parquet file with other values, of the same schema."""
    table = pq.read_table(path)
    columns = table.to_pydict()
    change(columns)
    pq.write_table(pa.table(columns, table.schema), path)


def swap_rows(name):
    def change(columns):
        values = columns[name]
        values[0], values[1] = values[1], values[0]

    return change


def replace(name, row, value):
    return lambda columns: columns[name].__setitem__(row, value)


def set_to(**values):
    return lambda found: found.update(values)


def layout_of_other_rows(stage):
    def change(layout):
        layout["rows_per_shard"] = 16
        for array in layout["arrays"]:
            if array["name"] != "valid":
                array["rows_per_shard"] = array["rows_per_chunk"] = 16

    edited(stage / "layout.json", change)


def of_another_dataset(scan):
    parts = [part | {"keys": "0" * 32} for part in scan["parts"]]
    listed = dict.fromkeys(scan["listed"], "0" * 32)
    return with_checksum(scan | {"parts": parts, "listed": listed})


def of_another_model(card):
    return with_checksum(card | {"digests": card["digests"] | {"settings": "f" * 64}})


def digest_in(layout):
    return json.loads(layout.read_text())["settings"]


def exchange(folder, text, other):
    for path in (*folder.glob("*.json"), *folder.glob("receipts/*.json")):
        path.write_text(path.read_text().replace(text, other))


def lose(*paths):
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def checkpoint(model):
    return sorted((model / "checkpoints").glob("step-*"))[-1]


def one(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


STAGE = {
    "a missing shard": (lambda p: lose(p.stage / "data.zarr/text/c.1.0"), "c.1.0: is missing"),
    "a cut shard": (lambda p: cut(p.stage / "data.zarr/length/c.1", -1), "c.1: has"),
    "an empty shard": (lambda p: cut(p.stage / "data.zarr/text/c.1.0", 0), "has 0 bytes"),
    "a flipped bit": (lambda p: flip(p.stage / "data.zarr/text/c.1.0"), "text/c.1.0: its bytes"),
    "a flipped bit of a shard's index": (
        lambda p: flip(p.stage / "data.zarr/text/c.1.0", -6),
        "text/c.1.0: its bytes",
    ),
    "a flipped bit of a digest": (
        lambda p: flip(p.stage / "data.zarr/digest/c.1.0"),
        "digest/c.1.0: its bytes",
    ),
    "two shards swapped": (
        lambda p: swap(p.stage / "data.zarr/text/c.1.0", p.stage / "data.zarr/text/c.2.0"),
        "text/c.2.0: its bytes",
    ),
    "a missing shard of valid": (lambda p: lose(p.stage / "data.zarr/valid/c.1"), "valid/c.1: is"),
    "a flipped bit of valid": (lambda p: flip(p.stage / "data.zarr/valid/c.0"), "valid/c.0: its"),
    "a lost array": (lambda p: lose(p.stage / "data.zarr/text"), "text/c.0.0: is missing"),
    "a lost ledger": (lambda p: lose(p.stage / "ledger"), "shard 1 has no record"),
    "one ledger file lost": (
        lambda p: lose(min((p.stage / "ledger").rglob("*.jsonl"), key=lambda path: path.name)),
        "shard 1 has no record",
    ),
    "a ledger cut": (
        lambda p: cut(min((p.stage / "ledger").rglob("*.jsonl"), key=lambda path: path.name), 300),
        "has no record",
    ),
    "a lost receipt": (lambda p: lose(p.stage / "receipts/part-00001.json"), "00001.json: is miss"),
    "an empty receipt": (lambda p: cut(p.stage / "receipts/part-00001.json", 0), "is damaged"),
    "a receipt that is a list": (
        lambda p: (p.stage / "receipts/part-00000.json").write_text("[]"),
        "part-00000.json: is damaged: it is a list, not an object",
    ),
    "a receipt of another partition": (
        lambda p: shutil.copy(
            p.stage / "receipts/part-00001.json", p.stage / "receipts/part-00000.json"
        ),
        "part-00000.json: is of another partition",
    ),
    "a receipt of another stage": (
        lambda p: shutil.copy(
            p.features / "receipts/part-00000.json", p.stage / "receipts/part-00000.json"
        ),
        "part-00000.json: is of another partition or of other settings",
    ),
    "a receipt with other counts": (
        lambda p: edited(p.stage / "receipts/part-00000.json", set_to(valid=29)),
        "part-00000.json: ",
    ),
    "a receipt with other reasons": (
        lambda p: edited(p.stage / "receipts/part-00000.json", set_to(reasons={"none": 2})),
        "part-00000.json: reasons",
    ),
    "a receipt with other notes": (
        lambda p: edited(p.stage / "receipts/part-00000.json", set_to(notes={"cut": 7})),
        "notes",
    ),
    "a receipt with other keys": (
        lambda p: edited(p.stage / "receipts/part-00000.json", set_to(keys="0" * 32)),
        "part-00000.json: is of other samples",
    ),
    "a receipt with another digest": (
        lambda p: edited(p.stage / "receipts/part-00000.json", set_to(digest="0" * 32)),
        "part-00000.json: the ledger does not add up",
    ),
    "a receipt with another checksum": (
        lambda p: edited(
            p.stage / "receipts/part-00000.json",
            lambda found: found["valid_files"]["0"].update(crc32c="00000000"),
        ),
        "valid/c.0: its bytes",
    ),
    "an invalid row made up in the ledger": (
        lambda p: edit_records(p.stage, [1], invalid=[[9, "empty text"]]),
        "shard 1: its record says of other rows",
    ),
    "an invalid row taken from the ledger": (
        lambda p: edit_records(p.stage, [0], invalid=[]),
        "shard 0: its record says of other rows",
    ),
    "another invalid row in the ledger": (
        lambda p: edit_records(p.stage, [0], invalid=[[6, "empty text"]]),
        "shard 0: its record says of other rows",
    ),
    "an invalid row of another shard": (
        lambda p: edit_records(p.stage, [0], invalid=[[5, "empty text"], [900, "x"]]),
        "shard 0: its record says of rows that it does not hold",
    ),
    "another reason in the ledger": (
        lambda p: edit_records(p.stage, [0], invalid=[[5, "empty text: really"]]),
        "its record gives other reasons",
    ),
    "other notes in the ledger": (
        lambda p: edit_records(p.stage, [0], notes={"cut": 5}),
        "its record has other notes",
    ),
    "another content in the ledger": (
        lambda p: edit_records(p.stage, [1], content="0" * 32),
        "shard 1: its record is not of the bytes that were read",
    ),
    "another key in the ledger": (
        lambda p: edit_records(p.stage, [1], key="0" * 32),
        "the ledger does not add up",
    ),
    "another checksum in the ledger": (
        lambda p: edit_records(
            p.stage, [1], files=lambda f: f | {"text": f["text"] | {"crc32c": "0" * 8}}
        ),
        "text/c.1.0: its bytes",
    ),
    "another size in the ledger": (
        lambda p: edit_records(
            p.stage, [1], files=lambda f: f | {"text": f["text"] | {"bytes": 5}}
        ),
        "shard 1: its record gives text 5 bytes",
    ),
    "other rows in the ledger": (
        lambda p: edit_records(p.stage, [4], rows=3),
        "shard 4: its record",
    ),
    "a ledger of another stage": (
        lambda p: shutil.copy(
            min((p.features / "ledger").rglob("*.jsonl"), key=lambda path: path.name),
            p.stage / "ledger/rows-000000000000-000000000032.00000000000000ff-00000000.jsonl",
        ),
        "shard 1: its record",
    ),
    "a lost quarantine": (lambda p: lose(p.stage / "quarantine/part-00000.parquet"), "is missing"),
    "a cut quarantine": (
        lambda p: cut(p.stage / "quarantine/part-00000.parquet", 100),
        "quarantine/part-00000.parquet: cannot be read",
    ),
    "quarantines swapped": (
        lambda p: swap(
            p.stage / "quarantine/part-00000.parquet", p.stage / "quarantine/part-00001.parquet"
        ),
        "quarantine/part-00000.parquet: holds other rows",
    ),
    "another reason in the quarantine": (
        lambda p: rewrite(p.stage / "quarantine/part-00000.parquet", replace("reason", 0, "x")),
        "quarantine/part-00000.parquet: shard 0: its record gives other reasons",
    ),
    "another key in the quarantine": (
        lambda p: rewrite(p.stage / "quarantine/part-00000.parquet", replace("key", 0, "x")),
        "quarantine/part-00000.parquet: its keys and cells",
    ),
    "a lost layout": (lambda p: lose(p.stage / "layout.json"), "layout.json: is missing"),
    "a cut layout": (lambda p: cut(p.stage / "layout.json", 50), "layout.json: is damaged"),
    "a layout that is {}": (
        lambda p: (p.stage / "layout.json").write_text("{}"),
        "layout.json: is damaged: settings: is missing",
    ),
    "a layout of other rows a shard": (
        lambda p: layout_of_other_rows(p.stage),
        "layout.json: is not the layout of the arrays beside it",
    ),
    "a layout of another stage": (
        lambda p: shutil.copy(p.features / "layout.json", p.stage / "layout.json"),
        "layout.json: is another variant's",
    ),
    "layout and dataset.json lost": (
        lambda p: lose(p.stage / "layout.json", p.stage / "dataset.json"),
        "layout.json: is missing",
    ),
    "a layout of other rows a shard, dataset.json lost": (
        lambda p: (layout_of_other_rows(p.stage), lose(p.stage / "dataset.json")),
        "layout.json: is not the layout of the arrays beside it",
    ),
    "a layout of other rows a shard, no other left": (
        lambda p: (
            layout_of_other_rows(p.stage),
            lose(p.stage / "dataset.json", *p.stage.glob("data.zarr/*/zarr.json")),
        ),
        "layout.json: is not the layout of the shards that are recorded",
    ),
    "the folder of another variant": (
        lambda p: exchange(p.stage, digest_in(p.stage / "layout.json"), "f" * 64),
        "layout.json: is another variant's",
    ),
    "a lost zarr.json": (
        lambda p: lose(p.stage / "data.zarr/text/zarr.json"),
        "text/zarr.json: is",
    ),
    "a lost zarr.json of the group": (
        lambda p: lose(p.stage / "data.zarr/zarr.json"),
        "data.zarr/zarr.json: is missing",
    ),
    "an edited zarr.json": (
        lambda p: edited(p.stage / "data.zarr/text/zarr.json", set_to(fill_value=7)),
        "text/zarr.json: is not what was committed",
    ),
    "a zarr.json that is a list": (
        lambda p: (p.stage / "data.zarr/text/zarr.json").write_text("[]"),
        "text/zarr.json: is not what was committed",
    ),
    "a cut dataset.json": (
        lambda p: cut(p.stage / "dataset.json", 100),
        "dataset.json: is damaged",
    ),
    "a lost dataset.json": (
        lambda p: lose(p.stage / "dataset.json"),
        "dataset.json: is missing; ",
    ),
    "a dataset.json of other rows": (
        lambda p: edited(p.stage / "dataset.json", set_to(rows=39)),
        "dataset.json: is damaged: rows: 39; its parts hold 40",
    ),
    "a dataset.json made with something else": (
        lambda p: edited(p.stage / "dataset.json", set_to(made_with={"modality": {}})),
        "dataset.json: is not what was committed",
    ),
    "a dataset.json of another stage": (
        lambda p: shutil.copy(p.features / "dataset.json", p.stage / "dataset.json"),
        "dataset.json: is not what was committed",
    ),
    "a stray shard": (
        lambda p: shutil.copy(p.stage / "data.zarr/text/c.1.0", p.stage / "data.zarr/text/c.77.0"),
        "text/c.77.0: no record knows it",
    ),
    "a stray array": (
        lambda p: shutil.copytree(p.stage / "data.zarr/text", p.stage / "data.zarr/other"),
        "data.zarr/other: is no array of this stage",
    ),
    "a lost stage of a modality": (lambda p: lose(p.stage), "is missing; "),
}

FEATURES = {
    "a lost stage of features": (lambda p: lose(p.features), "is missing; "),
    "a lost dataset.json of features": (
        lambda p: lose(p.features / "dataset.json"),
        "dataset.json: is missing; ",
    ),
    "a flipped bit of an embedding": (
        lambda p: flip(p.features / "data.zarr/ngrams/c.1.0"),
        "ngrams/c.1.0: its bytes",
    ),
    "a content made up in the ledger of features": (
        lambda p: edit_records(p.features, [1], content="0" * 32),
        "shard 1: its record is not of the bytes",
    ),
}

INDEX = {
    "a missing part": (lambda p: lose(p.index / "part-00001.parquet"), "part-00001.parquet: "),
    "a cut part": (lambda p: cut(p.index / "part-00001.parquet", -20), "part-00001.parquet: "),
    "another part": (
        lambda p: shutil.copy(p.index / "part-00000.parquet", p.index / "part-00001.parquet"),
        "part-00001.parquet: ",
    ),
    "cells swapped": (
        lambda p: rewrite(p.index / "part-00000.parquet", swap_rows("text")),
        "part-00000.parquet: its column text is not that of its receipt",
    ),
    "labels swapped": (
        lambda p: rewrite(p.index / "part-00000.parquet", swap_rows("label")),
        "part-00000.parquet: its column label is not that of its receipt",
    ),
    "groups swapped": (
        lambda p: rewrite(p.index / "part-00000.parquet", swap_rows("group")),
        "part-00000.parquet: its column group is not that of its receipt",
    ),
    "keys swapped": (
        lambda p: rewrite(p.index / "part-00000.parquet", swap_rows("key")),
        "part-00000.parquet: its keys are not those listed",
    ),
    "a reason made up": (
        lambda p: rewrite(p.index / "part-00000.parquet", replace("reason", 3, "bad")),
        "part-00000.parquet: its column",
    ),
    "two parts swapped": (
        lambda p: swap(p.index / "part-00000.parquet", p.index / "part-00001.parquet"),
        "part-00001.parquet: its rows are not those of its receipt",
    ),
    "a part without its columns": (
        lambda p: pq.write_table(
            pq.read_table(p.index / "part-00000.parquet", columns=["key", "text"]),
            p.index / "part-00000.parquet",
        ),
        "part-00000.parquet: has no column",
    ),
    "a missing plan": (
        lambda p: lose(p.index / "plan/part-00001.json"),
        "part-00001.json: is miss",
    ),
    "a cut plan": (lambda p: cut(p.index / "plan/part-00001.json", 90), "part-00001.json: is dam"),
    "a plan that is {}": (
        lambda p: (p.index / "plan/part-00001.json").write_text("{}"),
        "part-00001.json: is damaged: it has no plan",
    ),
    "a plan of other rows": (
        lambda p: edited(
            p.index / "plan/part-00001.json", lambda plan: plan["00001"].update(first=7)
        ),
        "part-00001.json: is not what the scan wrote",
    ),
    "half of a surrogate pair in a plan": (
        lambda p: edited(
            p.index / "plan/part-00001.json",
            lambda plan: plan["00001"]["pieces"][0].update(file="\ud800"),
        ),
        "part-00001.json: is damaged",
    ),
    "a missing receipt of cells": (
        lambda p: lose(p.index / "receipts/text/part-00001.json"),
        "part-00001.json: is missing",
    ),
    "an empty receipt of cells": (
        lambda p: cut(p.index / "receipts/text/part-00001.json", 0),
        "part-00001.json: is damaged",
    ),
    "another digest of cells": (
        lambda p: edited(p.index / "receipts/text/part-00001.json", set_to(digest="0" * 32)),
        "its column text",
    ),
    "another digest of labels": (
        lambda p: edited(
            p.index / "receipts/columns/part-00000.json",
            lambda found: found["columns"].update(label="0" * 32),
        ),
        "its column label",
    ),
    "scan.json lost": (lambda p: lose(p.index / "scan.json"), "scan.json: is missing"),
    "scan.json cut": (lambda p: cut(p.index / "scan.json", 60), "scan.json: is damaged"),
    "scan.json edited": (
        lambda p: edited(p.index / "scan.json", lambda found: found["parts"][0].update(keys="x")),
        "scan.json: is not what the scan wrote",
    ),
    "scan.json of another dataset": (
        lambda p: edited(p.index / "scan.json", of_another_dataset),
        "scan.json: is of other rows than those committed",
    ),
    "columns@….json lost": (lambda p: lose(one(p.index, "columns@*.json")), "columns@"),
    "columns@….json cut": (lambda p: cut(one(p.index, "columns@*.json"), 20), "is damaged"),
    "columns@….json edited": (
        lambda p: edited(one(p.index, "columns@*.json"), set_to(columns={"label": "other"})),
        "columns@",
    ),
    "the index's dataset.json lost": (
        lambda p: lose(p.index / "dataset.json"),
        "index/dataset.json: is missing; ",
    ),
    "the index's dataset.json cut": (
        lambda p: cut(p.index / "dataset.json", 90),
        "index/dataset.json: is damaged",
    ),
    "the index's dataset.json is {}": (
        lambda p: (p.index / "dataset.json").write_text("{}"),
        "index/dataset.json: is damaged: dataset: is missing",
    ),
    "another split": (
        lambda p: edited(p.index / "dataset.json", lambda found: found["split"].update(seed=9)),
        "index/dataset.json: is not what was committed",
    ),
    "the whole index lost": (lambda p: lose(p.index), "index: is missing; "),
}

MODEL = {
    "metrics.json edited": (
        lambda p: edited(p.model / "metrics.json", set_to(samples=9_999)),
        "metrics.json: is missing or has another size",
    ),
    "metrics.json with another digit": (
        lambda p: edited(p.model / "metrics.json", set_to(task="cLassify")),
        "metrics.json: its bytes are not those recorded",
    ),
    "metrics.json lost": (lambda p: lose(p.model / "metrics.json"), "metrics.json: is missing"),
    "model.json lost": (lambda p: lose(p.model / "model.json"), "model.json: is missing"),
    "model.json cut": (lambda p: cut(p.model / "model.json", 200), "model.json: is damaged"),
    "model.json is []": (lambda p: (p.model / "model.json").write_text("[]"), "model.json: is dam"),
    "model.json edited": (
        lambda p: edited(p.model / "model.json", set_to(seed=7)),
        "model.json: is not what was written",
    ),
    "the folder of another model": (
        lambda p: edited(p.model / "model.json", of_another_model),
        "model.json: is another model's",
    ),
    "weights changed": (
        lambda p: flip(p.model / "model.safetensors", -1),
        "model.safetensors: its bytes are not",
    ),
    "weights lost": (
        lambda p: lose(p.model / "model.safetensors"),
        "model.safetensors: is missing",
    ),
    "history.json edited": (
        lambda p: edited(p.model / "history.json", set_to(best_epoch=9)),
        "history.json: its bytes are not",
    ),
    "samples.parquet cut": (
        lambda p: cut(p.model / "samples.parquet", -9),
        "samples.parquet: is missing or has another size",
    ),
    "predictions.parquet changed": (
        lambda p: flip(p.model / "predictions.parquet", 20),
        "predictions.parquet: its bytes are not",
    ),
    "a checkpoint cut": (
        lambda p: cut(checkpoint(p.model) / "tensors.safetensors", -1),
        "is no whole checkpoint",
    ),
    "a checkpoint's manifest is []": (
        lambda p: (checkpoint(p.model) / "manifest.json").write_text("[]"),
        "is no whole checkpoint",
    ),
}
DAMAGES = STAGE | FEATURES | INDEX | MODEL


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_and_repaired_to_equal_bytes(name, config, undisturbed, capsys):
    damage, message = DAMAGES[name]
    places = Places(config)
    damage(places)

    assert main(["verify", "--deep", "--results", str(places.results)]) == 2
    assert message in capsys.readouterr().err

    assert main(["verify", "--deep", "--repair", "--results", str(places.results)]) == 0
    verified.run_missing(config)
    capsys.readouterr()
    assert main(["verify", "--deep", "--results", str(places.results)]) == 0, capsys.readouterr()
    found, wanted = pipeline.bytes_of(places.results), undisturbed[2]
    assert sorted(found) == sorted(wanted)
    assert not [path for path in wanted if found[path] != wanted[path]]


@pytest.mark.parametrize("change", ["was changed since the scan", "is missing"])
def test_a_source_that_was_changed_is_said_where_it_is_read_again(change, config, capsys):
    places, source = Places(config), Path("texts.csv")
    lose(places.stage / "data.zarr/text/c.1.0")
    if change == "is missing":
        source.unlink()
    else:
        os.utime(source, (time.time() + 60,) * 2)

    assert main(["verify", "--repair", "--results", "results"]) == 0

    assert f"note: {source}: {change}; what is made again" in capsys.readouterr().out


def test_a_receipt_that_is_not_committed_yet_is_no_damage(config, capsys):
    places = Places(config)
    stage = places.stage / "dataset.json"
    before = stage.read_bytes()
    with Path("texts.csv").open("a") as file:
        file.write("new,neu,one,p1\n")
    for job in verified.jobs(config):
        if job.words[0] == "preprocess":
            job.outputs[0].unlink()
        assert main(job.words) == 0
        if job.words[0] == "preprocess" and job.outputs[0].name == "part-00001.json":
            break
    capsys.readouterr()

    assert main(["verify", "--deep", "--repair", "--results", "results"]) == 0

    assert "part-00001.json: is newer than dataset.json, and not comm" in capsys.readouterr().out
    assert stage.read_bytes() == before


def test_what_does_not_look_like_a_shard_is_left_to_its_owner(config, capsys):
    shard = Places(config).stage / "data.zarr/text/c.1.0"
    shard.rename(shard.with_name("c.1.0.moved"))
    shard.symlink_to("c.1.0.moved")

    assert main(["verify", "--deep", "--repair", "--results", "results"]) == 0

    assert "c.1.0.moved: is no file of this stage" in capsys.readouterr().out
    assert shard.exists()
