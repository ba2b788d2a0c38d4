"""`store: false`: the source is decoded straight into an encoder, and no pixel is stored."""

import copy
import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pipeline
import pyarrow.parquet as pq
import pytest
import zarr
from execution.test_culprits import site  # noqa: F401 # a fixture
from steps import running

import sampan
from sampan.cli import main
from sampan.operations.verify import faults, repair
from sampan.plan import Plan
from sampan.storage.durable import read_json
from sampan.store.layout import Layout
from sampan.store.variant import Variant
from sampan.weights.digests import weights_digest

STORED = ("scan", "index", "preprocess", "extract")
FUSED = ("scan", "index", "extract")


def fused(config, results=None, **modality):
    """The same config with no modality stored; `modality` are more settings of it, or `...`."""
    found = copy.deepcopy(config)
    for dataset in found["datasets"].values():
        for entry in dataset["modalities"].values():
            entry.pop("rows_per_shard", None)
            entry |= {"store": False, **modality}
            for name in [name for name, value in entry.items() if value is ...]:
                del entry[name]
    if results is not None:
        found["results"] = str(results)
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Pictures, one of them broken, and their features by way of stored pixels."""
    config = running.pictures(tmp_path_factory.mktemp("pictures"), rows=48)
    config["datasets"]["pictures"]["modalities"]["image"]["max_invalid"] = 0.2
    broken = Path(config["datasets"]["pictures"]["source"][0]["path"]).parent / "images"
    (broken / "20.jpg").unlink()
    pipeline.run(config, STORED)
    return config


@pytest.fixture(scope="module")
def made(stored, tmp_path_factory):
    """The same features, decoded from the source into the encoder."""
    config = fused(stored, tmp_path_factory.mktemp("fused") / "results")
    pipeline.run(config, FUSED)
    return config


@pytest.fixture
def indexed(made, tmp_path):
    """Where only the index is made."""
    config = running.elsewhere(made, tmp_path / "results")
    shutil.copytree(Path(made["results"]) / "pictures/index", tmp_path / "results/pictures/index")
    return config


def folder(config, name="image.hog", dataset="pictures"):
    return pipeline.folder_of(config, name, dataset)


def arrays(config, name="image.hog", dataset="pictures"):
    group = zarr.open_group(folder(config, name, dataset) / "data.zarr", mode="r")
    return {array: np.asarray(group[array]) for array in group}


def quarantine(path):
    return pq.read_table(path / "quarantine/part-00000.parquet").to_pydict()


def test_embeddings_are_those_of_stored_pixels_bit_for_bit(stored, made):
    found, wanted = arrays(made), arrays(stored)

    assert found["hog"].tobytes() == wanted["hog"].tobytes()
    assert (found["valid"] == wanted["valid"]).all()
    assert folder(made).name != folder(stored).name


def test_nothing_of_the_pixels_is_stored(made):
    results = Path(made["results"]) / "pictures"

    assert sorted(path.name for path in results.iterdir()) == ["features", "index"]
    assert set(arrays(made)) == {"hog", "digest", "valid"}
    kept = sum(file.stat().st_size for file in folder(made).rglob("c.*"))
    assert kept < 48 * 32 * 32 * 3


def test_quarantine_notes_and_digests_are_those_of_preprocess(stored, made):
    above = folder(stored, "image")

    assert quarantine(folder(made)) == quarantine(above)
    assert quarantine(above)["row"] == [3, 20]
    assert quarantine(above)["cell"] == ["images/3.jpg", "images/20.jpg"]
    assert (arrays(made)["digest"] == arrays(stored, "image")["digest"]).all()
    found, wanted = (read_json(path / "dataset.json") for path in (folder(made), above))
    for name in ("rows", "valid", "reasons", "notes"):
        assert found[name] == wanted[name]


def test_a_killed_job_goes_on_at_the_next_shard_and_ends_with_the_same_bytes(
    made, indexed, tmp_path
):
    words = running.job(indexed, "extract", threads=1)
    log = tmp_path / "log"

    killed = running.Job(words, log, **running.slow(tmp_path, 0.02)).kill_when(
        lambda: len(running.recorded(folder(indexed))) >= 3
    )
    ended = running.Job(words, log).wait()

    assert (killed, ended) == (True, 0), log.read_text()
    assert sorted(running.recorded(folder(indexed))) == list(range(12))  # none was done twice
    receipts = [Variant(folder(config)).receipt(0).read_bytes() for config in (made, indexed)]
    assert receipts[0] == receipts[1]
    for file in (folder(made) / "data.zarr").rglob("c.*"):
        copy_ = folder(indexed) / file.relative_to(folder(made))
        assert copy_.read_bytes() == file.read_bytes()


def test_a_receipt_does_not_depend_on_the_threads(made, indexed):
    assert main(running.job(indexed, "extract", threads=1)) == 0

    receipts = [Variant(folder(config)).receipt(0).read_bytes() for config in (made, indexed)]
    assert receipts[0] == receipts[1]


def test_the_log_says_how_busy_the_stages_were(indexed, caplog):
    caplog.set_level("INFO", "sampan")

    assert main(running.job(indexed, "extract")) == 0

    (line,) = [text for text in caplog.messages if "waited" in text]
    assert re.search(
        r"image\.hog@\w+ part 0: 48 samples in .*; the encoder waited \d+ % of the time for data; "
        r"read \d+ %, decode \d+ %, encode \d+ %, write \d+ % of [\d.]+ s$",
        line,
    )


# Samples that kill their decoder ------------------------------------------------------------------


def test_samples_that_crash_or_hang_a_decoder_cost_one_sample_each(site, tmp_path):  # noqa: F811
    words = {5: "segfault", 20: "hang", 41: "bad", 43: "later se", 70: "exit"}
    with (tmp_path / "words.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerows([["id", "word"], *([i, words.get(i, f"good {i}")] for i in range(96))])
    config = {
        "results": str(tmp_path / "results"),
        "datasets": {
            "words": {
                "source": [{"kind": "table", "path": str(tmp_path / "words.csv"), "key": "id"}],
                "capacity": 128,
                "rows_per_job": 128,
                "modalities": {
                    "word": {
                        "kind": "fragile",
                        "column": "word",
                        "store": False,
                        "max_invalid": 0.2,
                    }
                },
                "features": {"word": ["fragile"]},
            }
        },
        "encoders": {"fragile": {"kind": "fragile", "rows_per_shard": 16}},
    }
    pipeline.run(config, ["scan", "index"])

    for job in pipeline.commands(config, ["extract"]):
        done = pipeline.sampan(*job, PYTHONPATH=site, SAMPAN_CPU_SECONDS="1")
        assert done.returncode == 0, done.stderr

    found = quarantine(folder(config, "word.fragile", "words"))
    assert dict(zip(found["row"], found["reason"], strict=True)) == {
        5: "crashed its decoder: segmentation fault",
        20: "hung its decoder: more than 1 CPU seconds",
        41: "bad word: as asked",
        43: "crashed its decoder: segmentation fault",
        70: "ended its decoder: exit status 3",
    }
    made = arrays(config, "word.fragile", "words")
    assert np.flatnonzero(~made["valid"]).tolist() == [5, 20, 41, 43, 70]
    assert (made["fragile"][made["valid"], 0] == ord("g")).all()


# Storage ------------------------------------------------------------------------------------------


def test_a_source_that_is_not_mounted_is_no_bad_data(indexed, tmp_path, capsys):
    source = Path(indexed["datasets"]["pictures"]["source"][0]["path"]).parent / "images"
    source.rename(source.with_name("away"))
    try:
        code = main(running.job(indexed, "extract", patience_seconds=0))
    finally:
        source.with_name("away").rename(source)

    assert code == 2
    assert "error: " in capsys.readouterr().err
    assert not list(folder(indexed).glob("receipts/*"))
    assert not list(folder(indexed).glob("quarantine/*"))
    assert running.recorded(folder(indexed)) == []


def test_a_damaged_shard_is_found_repaired_and_made_again(made, tmp_path):
    config = running.elsewhere(made, tmp_path / "results")
    shutil.copytree(made["results"], config["results"])
    variant = Variant(folder(config))
    layout = Layout.from_json(read_json(variant.layout))
    before = {array: variant.shard(layout, array, 2).read_bytes() for array in ("hog", "digest")}
    for array in ("hog", "digest"):
        damaged = bytearray(before[array])
        damaged[0] ^= 1
        variant.shard(layout, array, 2).write_bytes(damaged)

    found = list(faults(Path(config["results"]), deep=True))
    repair(found, 0)
    again = main(running.job(config, "extract"))

    assert {fault.shard for fault in found} == {2}
    assert again == 0
    for array in ("hog", "digest"):
        assert variant.shard(layout, array, 2).read_bytes() == before[array]
    assert list(faults(Path(config["results"]), deep=True)) == []


def test_forget_has_it_decoded_again(made, tmp_path, monkeypatch, capsys):
    config = running.elsewhere(made, tmp_path / "results")
    shutil.copytree(made["results"], config["results"])
    receipt = Variant(folder(config)).receipt(0)
    before = receipt.read_bytes()

    assert main(["forget", "image.hog", "--results", config["results"]]) == 0
    assert not receipt.exists()
    assert main(running.job(config, "extract")) == 0

    assert receipt.read_bytes() == before
    assert sorted(running.recorded(folder(config))) == list(range(12))


def test_a_source_that_grows_makes_just_the_new_shards(tmp_path):
    config = running.pictures(tmp_path, rows=40)
    config["datasets"]["pictures"]["modalities"]["image"]["max_invalid"] = 0.2
    config = fused(config)
    pipeline.run(config, FUSED)
    first = arrays(config)["hog"]
    table = tmp_path / "pictures.csv"
    with table.open("a", newline="") as file:
        csv.writer(file).writerows([f"q{i}", f"images/{i}.jpg", 0, 0.0] for i in range(8))

    pipeline.run(config, FUSED)

    assert sorted(running.recorded(folder(config))) == list(range(12))  # 10 shards, then 2
    grown = arrays(config)
    assert len(grown["hog"]) == 48
    assert grown["hog"][:40].tobytes() == first.tobytes()
    assert grown["hog"][40:43].tobytes() == first[:3].tobytes()


# What others make of it ---------------------------------------------------------------------------


def test_sampan_open_shows_what_there_is(made):
    dataset = sampan.open(Path(made["results"]) / "pictures")

    assert set(dataset.data_vars) == {"image.hog", "image.hog.digest", "image.hog.valid"}
    assert dataset["image.hog"].shape[0] == 48


def test_ls_shows_that_nothing_was_stored(made, capsys):
    assert main(["ls", "--results", made["results"]]) == 0

    shown = capsys.readouterr().out
    assert folder(made).name in shown
    assert '"store": false' in shown


def test_a_model_aligns_features_that_were_decoded_on_the_way(tmp_path):
    config = running.pictures(tmp_path, rows=64)
    captions = tmp_path / "captions.csv"
    with (tmp_path / "pictures.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    running.write_table(
        captions,
        ["id", "file", "class", "text"],
        [(x["id"], x["file"], x["class"], f"class {x['class']}") for x in lines],
    )
    dataset = config["datasets"]["pictures"]
    dataset["source"][0]["path"] = str(captions)
    dataset["modalities"]["text"] = {"kind": "text", "column": "text", "bytes": 16}
    dataset["features"]["text"] = ["ngrams"]
    config["encoders"]["ngrams"] = {"kind": "ngrams", "dimensions": 16}
    config["models"] = {
        "pairs": {
            "dataset": "pictures",
            "task": "align",
            "inputs": ["image.hog", "text.ngrams"],
            "epochs": 2,
        }
    }
    config = fused(config)
    pipeline.run(config, FUSED)

    assert main(running.training(config, "pairs")) == 0
    assert main(running.training(config, "pairs", "evaluate")) == 0

    samples = pq.read_table(running.model_folder(config, "pairs") / "samples.parquet").to_pydict()
    digests = arrays(config)["digest"]
    assert samples["image.digest"] == [row.tobytes().hex() for row in digests]
    assert samples["image.digest"][0] == samples["image.digest"][8]  # the same file twice
    metrics = read_json(running.model_folder(config, "pairs") / "metrics.json")["metrics"]
    assert "image→text/recall_at_1" in metrics


# The encoder's own size ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A picture encoder of 48 px that crops, with random weights."""
    from transformers import Dinov2Config, Dinov2Model
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

    path = tmp_path_factory.mktemp("weights")
    Dinov2Model(
        Dinov2Config(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
        )
    ).save_pretrained(path)
    BitImageProcessorPil(
        size={"shortest_edge": 48}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(path)
    return {
        "kind": "transformers",
        "path": str(path),
        "digest": weights_digest(path),
        "output": "cls",
        "memory_mb": 1000,
        "batch": 16,
        "rows_per_shard": 16,
    }


def with_encoder(config, weights, results):
    config = copy.deepcopy(config)
    config["datasets"]["pictures"]["features"]["image"] = ["tiny"]
    config["encoders"] = {"tiny": weights}
    config["results"] = str(results)
    return config


def test_pictures_are_decoded_at_the_encoders_own_size(stored, weights, tmp_path):
    config = with_encoder(stored, weights, tmp_path / "stored")
    image = config["datasets"]["pictures"]["modalities"]["image"]
    image |= {"height": 48, "width": 48}
    pipeline.run(config, STORED)
    free = fused(config, tmp_path / "fused", height=..., width=...)
    pipeline.run(free, FUSED)

    found, wanted = (arrays(each, "image.tiny")["tiny"] for each in (free, config))

    assert (np.isnan(found) == np.isnan(wanted)).all()
    np.testing.assert_array_equal(found, wanted)


def test_another_size_than_the_encoders_is_an_error_that_says_so(stored, weights, tmp_path, capsys):
    config = fused(with_encoder(stored, weights, tmp_path / "results"))  # height: 32, width: 32
    pipeline.run(config, ("scan", "index"))

    code = main(running.job(config, "extract"))

    assert code == 2
    assert (
        "error: datasets.pictures.modalities.image: height: 32, its encoder takes 48; "
        "leave height out" in capsys.readouterr().err
    )


def test_the_size_that_an_encoder_decides_is_no_part_of_the_name(stored, weights, tmp_path):
    config = fused(with_encoder(stored, weights | {"path": "not/there"}, tmp_path))
    free = fused(config, height=..., width=...)

    names = [Plan.parse(each).features["pictures", "image.tiny"] for each in (config, free)]

    assert names[0] == names[1]


# Text, by length ----------------------------------------------------------------------------------


def test_texts_come_in_the_order_of_their_lengths_and_leave_in_row_order(tmp_path, monkeypatch):
    from transformers import BertConfig, BertModel, BertTokenizer

    path = tmp_path / "bert"
    letters = [chr(code) for code in range(97, 123)]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + x for x in letters)]
    BertTokenizer(vocab={n: i for i, n in enumerate(names)}, model_max_length=64).save_pretrained(
        path
    )
    BertModel(
        BertConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            vocab_size=len(names),
            max_position_embeddings=64,
            initializer_range=0.5,
        )
    ).save_pretrained(path)
    config = pipeline.texts(tmp_path)
    words = ["ab", "a" * 30, "xyz", "q" * 20, "b", "hello", "z" * 28, "cc"] * 8
    running.write_table(tmp_path / "texts.csv", ["id", "text"], list(enumerate(words)))
    dataset = config["datasets"]["texts"] | {"features": {"text": ["bert"]}}
    config["datasets"]["texts"] = {k: v for k, v in dataset.items() if k not in ("label", "group")}
    encoder = {"kind": "transformers", "path": str(path), "digest": weights_digest(path)}
    encoder |= {"output": "mean", "memory_mb": 1000, "batch": 4, "rows_per_shard": 64}
    config["encoders"] = {"bert": encoder}
    config = fused(config)

    pipeline.run(config, FUSED)

    made = arrays(config, "text.bert", "texts")["bert"].astype(np.float32)
    for i, word in enumerate(words):  # equal texts, equal embeddings, whatever stood beside them
        np.testing.assert_allclose(made[i], made[words.index(word)], rtol=0, atol=2e-3)
    distances = np.linalg.norm(made[:8, None] - made[None, :8], axis=2)
    assert (distances[~np.eye(8, dtype=bool)] > 0.05).all()
