"""JSON of another shape in a results folder: an `error:` line, never a traceback."""

import contextlib
import json
import shutil

import pipeline
import pytest
from operations import verified

import sampan
from sampan.cli import main
from sampan.errors import SampanError
from sampan.storage.durable import CHECKSUM

KINDS = {
    "scan.json": "texts/index/scan.json",
    "columns@….json": "texts/index/columns@*.json",
    "a plan": "texts/index/plan/part-00000.json",
    "the index's dataset.json": "texts/index/dataset.json",
    "a receipt of cells": "texts/index/receipts/text/part-00000.json",
    "a receipt of columns": "texts/index/receipts/columns/part-00000.json",
    "layout.json": "texts/preprocess/*/layout.json",
    "a receipt of a modality": "texts/preprocess/*/receipts/part-00000.json",
    "a receipt of features": "texts/features/*/receipts/part-00001.json",
    "dataset.json": "texts/preprocess/*/dataset.json",
    "dataset.json of features": "texts/features/*/dataset.json",
    "zarr.json": "texts/features/*/data.zarr/ngrams/zarr.json",
    "model.json": "models/*/model.json",
    "metrics.json": "models/*/metrics.json",
    "history.json": "models/*/history.json",
    "a manifest": "models/*/checkpoints/step-*/manifest.json",
}
VALUES = ["{}", "[]", "null", "1", '"x"', "", '{"a": ', "[" * 3000, "\ufffd", '{"parts": [[]]}']
OTHER_TYPE = {dict: [], list: {}, str: 7, int: "x", float: "x"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The config of a finished run, in whose folder the tests of this file are."""
    made, config = verified.finished()
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    with contextlib.chdir(folder):
        pipeline.write_config(config, folder / "config.yaml")
        yield config


def altered(text):
    """JSON texts of other shapes: whole others, and each member gone or of another type."""
    yield from VALUES
    yield text[: len(text) // 2]
    value = json.loads(text)
    for name in value:
        if name == CHECKSUM:
            continue  # without it, it is a file of an earlier version
        yield json.dumps({other: item for other, item in value.items() if other != name})
        yield json.dumps(value | {name: OTHER_TYPE.get(type(value[name]), [])})


def refused_or_right(call):
    """Runs what may raise errors that a user can mend, and no others."""
    with contextlib.suppress(SampanError):
        call()


def command(capsys, *words):
    code = main(list(words))
    said = capsys.readouterr().err
    assert code in (0, 2), words
    assert code == 0 or said.startswith("error: "), said


@pytest.mark.parametrize("name", KINDS)
def test_readers_name_a_file_of_another_shape(name, finished, capsys):
    path = sorted(pipeline.results_of(finished).glob(KINDS[name]))[0]
    whole = path.read_text()
    try:
        for text in altered(whole):
            path.write_text(text)
            assert main(["verify", "--deep", "--results", "results"]) == 2, text
            error = capsys.readouterr().err
            assert str(path) in error or str(path.parent) in error
            command(capsys, "ls", "--results", "results")
            command(capsys, "status", "config.yaml")
            refused_or_right(lambda: sampan.open("results/texts"))
    finally:
        path.write_text(whole)


def reading(config, path):
    """The jobs that read a file: those whose input it is, or that work in its folder."""
    for job in verified.jobs(config):
        around = {one.parent for one in job.outputs} | {one.parent.parent for one in job.outputs}
        if path in job.inputs or path.parent in around:
            yield job.words


@pytest.mark.parametrize("text", ["{}", "[]", '{"rows": "x"}'])
@pytest.mark.parametrize("name", KINDS)
def test_jobs_name_a_file_of_another_shape(name, text, finished, capsys):
    path = sorted(pipeline.results_of(finished).glob(KINDS[name]))[0]
    for words in reading(finished, path):
        whole = path.read_bytes()
        path.write_text(text)
        try:
            command(capsys, *words)
        finally:
            path.write_bytes(whole)


LINES = [
    "[]",
    "1",
    '{"shard": 1}',
    '{"shard": -1, "withdrawn": true}',
    '{"shard": "1", "withdrawn": true}',
    '{"shard": 999999999, "key": "k", "rows": 8, "files": {}, "invalid": [], "notes": {}, '
    '"content": ""}',
    '{"shard": 1, "key": "k", "rows": "8", "files": {}, "invalid": [], "notes": {}, "content": ""}',
    '{"shard": 1, "key": "k", "rows": 8, "files": {"text": 7}, "invalid": [], "notes": {}, '
    '"content": ""}',
    '{"shard": 1, "key": "k", "rows": 8, "files": {"other": {"bytes": 1, "crc32c": "x"}}, '
    '"invalid": [[9, "x"]], "notes": {}, "content": ""}',
    '{"shard": 1, "key": "k", "rows": 0, "files": {}, "invalid": [["9", 1]], "notes": {}, '
    '"content": ""}',
]


@pytest.mark.parametrize("line", LINES)
def test_a_ledger_line_of_another_shape_is_skipped_or_named(line, finished, capsys):
    stage = pipeline.folder_of(finished, "text")
    name = "rows-000000000000-000000000032.00000000000000ff-00000000.jsonl"
    path = stage / "ledger" / name
    path.write_text(line + "\n")
    try:
        command(capsys, "verify", "--deep", "--results", "results")
        command(capsys, "status", "config.yaml")
        refused_or_right(lambda: sampan.open("results/texts"))
        for words in reading(finished, stage / "layout.json"):
            if words[0] in ("preprocess", "commit"):
                command(capsys, *words)
    finally:
        path.unlink()
        for later in (stage / "ledger").rglob("*0000000000000100-*"):
            later.unlink()
