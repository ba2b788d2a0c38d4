import errno
import json
import os

import numpy as np
import pipeline
import pyarrow.parquet as pq
import pytest
from steps import running

import sampan
from sampan.cli import main
from sampan.dataset.examples import ABSENT, Examples
from sampan.errors import InvalidSample
from sampan.execution.decoding import how_much_was_cut
from sampan.modalities.text import Text
from sampan.operations.status.table import share
from sampan.plan import Plan
from sampan.plugins import Decoded, Shortened
from sampan.runs.stages import Watch
from sampan.storage.durable import read_json
from sampan.store.committed import Committed
from sampan.store.ledger import Record
from sampan.store.variant import Variant


def short_of_memory(monkeypatch, fault, times):
    """The decoder finds no memory for the text of row 5 so many times."""
    decode, seen = Text.decode, []

    def decode_or_fail(self, data, out):
        if data == pipeline.text_of(5).encode() and len(seen) < times:
            seen.append(1)
            if isinstance(fault, InvalidSample):
                raise fault from MemoryError()
            raise fault
        return decode(self, data, out)

    monkeypatch.setattr(Text, "decode", decode_or_fail)


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        InvalidSample("needs too much memory: the decoder ran out of it"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_sample_without_memory_while_others_are_at_work_is_tried_again_alone(
    tmp_path, monkeypatch, fault
):
    config = running.text_files(tmp_path)
    pipeline.run(config, ("scan", "index"))
    short_of_memory(monkeypatch, fault, times=1)

    assert main(running.job(config, "preprocess", threads=1)) == 0

    assert read_json(Variant(pipeline.folder_of(config, "text")).receipt(0))["valid"] == 48


def test_a_sample_that_needs_too_much_memory_by_itself_is_quarantined(tmp_path, monkeypatch):
    config = running.text_files(tmp_path)
    pipeline.run(config, ("scan", "index"))
    short_of_memory(monkeypatch, InvalidSample("needs too much memory: 1 PB"), times=2)

    assert main(running.job(config, "preprocess", threads=1)) == 0

    table = pq.read_table(
        pipeline.folder_of(config, "text") / "quarantine/part-00000.parquet"
    ).to_pydict()
    assert table == {
        "row": [5],
        "reason": ["needs too much memory: 1 PB"],
        "key": ["5"],
        "cell": ["texts/0/5.txt"],
    }


@pytest.mark.parametrize(
    ("kept", "whole", "note"),
    [
        (400, 1000, "cut by 60 to 70 %"),
        (999, 1000, "cut by 0 to 10 %"),
        (1, 10**9, "cut by 90 to 100 %"),
    ],
)
def test_how_much_of_a_sample_was_cut_is_noted_in_tenths(kept, whole, note):
    assert how_much_was_cut(Shortened.of(kept, ("cut",), whole)) == (note,)


def test_what_was_not_cut_has_no_such_note():
    assert how_much_was_cut(Decoded(10, ("padded",))) == ()


# Empty cells --------------------------------------------------------------------------------------

EMPTY = range(0, 40, 2)
KINDS = ("preprocess", "features")


def with_empty_cells(folder, **modality):
    """48 texts, of which 20 cells are empty and that of row 1 is blank; a model over them."""
    config = pipeline.texts(folder, rows=48)
    texts = ["" if i in EMPTY else " " if i == 1 else f"text {i}" for i in range(48)]
    lines = [(f"s{i}", text, i % 2, f"p{i}") for i, text in enumerate(texts)]
    running.write_table(folder / "texts.csv", ["id", "text", "word", "speaker"], lines)
    config["datasets"]["texts"]["modalities"]["text"] |= modality
    config["datasets"]["texts"]["split"] = {"validation": 0.3, "test": 0.3}
    model = {"dataset": "texts", "task": "classify", "inputs": ["text.ngrams"], "epochs": 1}
    return config | {"models": {"word": model | {"hidden": 0}}}


@pytest.fixture(params=["stored", "fused"])
def emptied(request, tmp_path):
    """A finished run over empty cells, and the name of the stage that read them."""
    stored = request.param == "stored"
    more = {} if stored else {"store": False, "rows_per_shard": None}
    config = with_empty_cells(tmp_path, max_invalid=0.05, **more)
    pipeline.run(config, threads=1)
    return config, "text" if stored else "text.ngrams"


def test_an_empty_cell_is_absent_neither_quarantined_nor_counted_towards_max_invalid(emptied):
    config, name = emptied
    variant = Variant(pipeline.folder_of(config, name))

    receipt = read_json(variant.receipt(0))
    about = Committed(variant).about
    quarantine = pq.read_table(variant.quarantine(0)).to_pydict()

    assert (receipt["rows"], receipt["valid"], receipt["absent"]) == (48, 27, 20)
    assert (about["valid"], about["absent"]) == (27, 20)
    assert receipt["reasons"] == about["reasons"] == {"empty text": 1}
    assert quarantine["row"] == [1]
    assert np.flatnonzero(Committed(variant).absent()).tolist() == list(EMPTY)
    assert not Committed(variant).valid()[[1, *EMPTY]].any()
    assert Committed(variant).valid().sum() == 27


def test_too_many_of_those_that_are_there_are_still_too_many(tmp_path, capsys):
    config = with_empty_cells(tmp_path, max_invalid=1 / 29)
    pipeline.run(config, ("scan", "index"))

    *jobs, commit = pipeline.commands(config, ("preprocess",))

    assert [main(job) for job in jobs] == [0] * len(jobs)
    assert main(commit) == 2
    assert "1 of 28 samples are invalid (empty text)" in capsys.readouterr().err


def test_absent_features_are_nan_and_models_leave_the_samples_out(emptied):
    config, _ = emptied
    features = sampan.open(f"{config['results']}/texts")["text.ngrams"].to_numpy()
    assert main(running.training(config, "word")) == 0

    table = pq.read_table(running.model_folder(config, "word") / "samples.parquet").to_pydict()

    assert np.isnan(features[[1, *EMPTY]]).all()
    assert np.isfinite(features[[3, *range(40, 48)]]).all()
    assert [i for i, why in enumerate(table["reason"]) if why == "text is absent"] == list(EMPTY)
    assert table["reason"][1] == "text.ngrams is not valid"


def test_what_is_absent_in_a_modality_is_absent_in_its_features(emptied):
    config, _ = emptied
    features = Variant(pipeline.folder_of(config, "text.ngrams"))

    about = Committed(features).about

    assert (about["valid"], about["absent"], sum(about["reasons"].values())) == (27, 20, 1)
    assert pq.read_table(features.quarantine(0))["row"].to_pylist() == [1]


def test_the_page_shows_which_samples_are_absent(emptied):
    config, _ = emptied

    found = Examples(Plan.parse(config), "texts", pipeline.results_of(config))

    assert found.media("text", 0) == ABSENT
    assert found.media("text", 1) is None
    assert found.media("text", 3) not in (ABSENT, None)


def test_a_decoder_whose_reason_says_absent_is_counted_as_invalid(tmp_path, monkeypatch):
    def refuse(self, data, out):
        raise InvalidSample("absent")

    monkeypatch.setattr(Text, "decode", refuse)
    config = with_empty_cells(tmp_path, max_invalid=1.0)
    pipeline.run(config, ("scan", "index", "preprocess"))

    receipt = read_json(Variant(pipeline.folder_of(config, "text")).receipt(0))

    assert (receipt["reasons"], receipt["absent"], receipt["valid"]) == ({"absent": 28}, 20, 0)


def test_status_counts_absent_samples_for_themselves(emptied):
    config, name = emptied

    found = [s for s in Watch(Plan.parse(config)).look().stages if s.kind in KINDS]

    assert name in {stage.name for stage in found}
    for stage in found:
        assert (stage.valid, stage.quarantined, stage.absent) == (27, 1, 20)
        assert share(stage) == 1


def test_verify_misses_no_quarantine_where_samples_are_only_absent(tmp_path):
    config = with_empty_cells(tmp_path)
    running.write_table(
        tmp_path / "texts.csv", ["id", "text", "word", "speaker"],
        [(f"s{i}", "" if i in EMPTY else "x", 1, f"p{i}") for i in range(48)],
    )  # fmt: skip
    pipeline.run(config, ("scan", "index", "preprocess"), threads=1)

    assert main(["verify", "--results", config["results"]]) == 0


def test_a_shard_without_empty_cells_is_recorded_as_it_was_before_there_were_any():
    record = Record(shard=0, key="k", rows=2, files={}, invalid=[(1, "why")])

    assert json.loads(record.line()) == {
        "shard": 0, "key": "k", "rows": 2, "files": {}, "invalid": [[1, "why"]], "notes": {},
        "content": "",
    }  # fmt: skip


# Files that may not be read -----------------------------------------------------------------------


def test_one_file_that_may_not_be_read_is_quarantined_and_most_are_storage_in_trouble(
    tmp_path, monkeypatch, capsys
):
    config = running.text_files(tmp_path)
    pipeline.run(config, ("scan", "index"))
    deny(monkeypatch, {"5.txt"})

    assert main(running.job(config, "preprocess", threads=1)) == 0

    receipt = read_json(Variant(pipeline.folder_of(config, "text")).receipt(0))
    assert receipt["reasons"] == {"permission denied": 1}
    deny(monkeypatch, {f"{i}.txt" for i in range(48)})
    other = running.elsewhere(config, tmp_path / "other")
    pipeline.run(other, ("scan", "index"))
    assert main(running.job(other, "preprocess", threads=1)) == 2
    assert "16 of 16 files of a shard may not be read" in capsys.readouterr().err


def deny(monkeypatch, names):
    """As for a user to whom these files are closed."""
    opened, accessed = os.open, os.access

    def refuse(path, *args, **kwargs):
        if os.path.basename(str(path)) in names:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode: os.path.basename(path) not in names and accessed(path, mode),
    )


# Files that are none, and links -------------------------------------------------------------------


def test_of_files_that_are_none_each_costs_one_sample_and_a_run_of_links_names_allow(
    tmp_path, capsys
):
    source, tier = tmp_path / "source", tmp_path / "tier"
    config = running.text_files(source)
    config["results"] = str(tmp_path / "results")
    folder = source / "texts/0"
    os.mkfifo(replaced(folder / "1.txt"))
    replaced(folder / "2.txt").mkdir()
    replaced(folder / "3.txt").symlink_to("/dev/null")
    replaced(folder / "4.txt").symlink_to("4.txt")
    replaced(folder / "5.txt").symlink_to("nowhere")
    (tier / "deep").mkdir(parents=True)
    for i in range(6, 12):
        (folder / f"{i}.txt").rename(tier / "deep" / f"{i}.txt")
        (folder / f"{i}.txt").symlink_to(tier / "deep" / f"{i}.txt")

    refused = running.elsewhere(config, tmp_path / "refused")
    pipeline.run(refused, ("scan", "index"))
    code = main(running.job(refused, "preprocess", threads=1))

    assert code == 2
    assert "link out of the source's folders, see allow" in capsys.readouterr().err
    config["datasets"]["texts"]["source"][0]["allow"] = [str(tier)]
    config["datasets"]["texts"]["modalities"]["text"]["max_invalid"] = 0.2
    pipeline.run(config, ("scan", "index", "preprocess"), threads=1)
    receipt = read_json(Variant(pipeline.folder_of(config, "text")).receipt(0))
    assert receipt["reasons"] == {
        "a FIFO, not a file": 1,
        "a folder, not a file": 1,
        "link out of the source's folders, see allow": 1,
        "unusable path": 1,
        "missing file": 1,
    }
    assert Plan.parse(config).columns_file("texts") != Plan.parse(refused).columns_file("texts")


def replaced(path):
    path.unlink()
    return path


def test_a_tier_that_is_away_is_bad_storage_though_the_links_to_it_are_there(tmp_path, capsys):
    source, tier = tmp_path / "source", tmp_path / "tier"
    config = running.text_files(source)
    config["datasets"]["texts"]["source"][0]["allow"] = [str(tier)]
    (source / "texts/0").rename(tier)
    (source / "texts/0").mkdir()
    for i in range(48):
        (source / f"texts/0/{i}.txt").symlink_to(tier / f"{i}.txt")
    pipeline.run(config, ("scan", "index"))
    tier.rename(tmp_path / "away")

    code = main(running.job(config, "preprocess", threads=1))

    assert code == 2
    assert "files of a shard are missing, and their folders too" in capsys.readouterr().err
