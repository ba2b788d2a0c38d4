import json

import numpy as np
import pytest
import yaml
from workflows.clone import PROFILE, Clone

pytestmark = pytest.mark.timeout(600)


def run(name, data, folder):
    """The models' cards of a named run on the real data, by model."""
    clone = Clone(folder / "clone")
    (clone.folder / "data").symlink_to(data.resolve())
    ran = clone.snakemake("models", *PROFILE, "--configfile", f"workflows/{name}/config.yaml")
    assert ran.code == 0, ran
    cards = (clone.folder / "results/models").glob("*/model.json")
    found = [json.loads(card.read_text()) for card in cards]
    return clone, {card["model"]: card for card in found}


@pytest.fixture(scope="module")
def emoji(data, tmp_path_factory):
    return run("emoji", data, tmp_path_factory.mktemp("emoji"))


@pytest.fixture(scope="module")
def avdigits(data, tmp_path_factory):
    return run("avdigits", data, tmp_path_factory.mktemp("avdigits"))


@pytest.mark.xdist_group("emoji")
@pytest.mark.parametrize("direction", ["image→words", "words→image"])
def test_emoji_are_found_at_least_five_times_as_often_as_by_chance(emoji, direction):
    _, cards = emoji
    metric = f"{direction}/recall_at_10"

    ratios = [
        card["metrics"][metric]["value"] / card["chance"][metric]
        for card in cards.values()
        if card["task"] == "align"
    ]

    assert len(ratios) == 3
    assert np.mean(ratios) >= 5


@pytest.mark.xdist_group("emoji")
def test_variants_of_one_emoji_never_straddle_splits(emoji):
    import sampan

    clone, _ = emoji
    config = yaml.safe_load((clone.folder / "workflows/emoji/config.yaml").read_text())
    assert config["datasets"]["emoji"]["group"] == "group"

    dataset = sampan.open(clone.folder / "results/emoji")

    splits = {}
    for group, split in zip(dataset.group.values, dataset.split.values, strict=True):
        splits.setdefault(group, set()).add(split)
    assert len(splits) == 580
    assert len(dataset.sample) - len(splits) == 40
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.xdist_group("avdigits")
def test_seeing_and_hearing_beats_either_alone_on_voices_that_training_never_heard(avdigits):
    _, cards = avdigits

    accuracy = {
        kind: [
            card["metrics"]["accuracy"]["value"]
            for name, card in cards.items()
            if name.startswith(kind)
        ]
        for kind in ("fused", "image", "sound")
    }

    assert [len(found) for found in accuracy.values()] == [4, 4, 4]
    assert np.mean(accuracy["fused"]) > np.mean(accuracy["image"])
    assert np.mean(accuracy["fused"]) > np.mean(accuracy["sound"])


@pytest.mark.xdist_group("avdigits")
def test_each_model_is_tested_on_one_speaker_and_trained_on_others(avdigits):
    import pyarrow.parquet as pq

    clone, cards = avdigits
    tested = set()
    for name in cards:
        if not name.startswith("fused"):
            continue
        (path,) = (clone.folder / "results/models").glob(f"{name}@*/samples.parquet")
        table = pq.read_table(path).to_pydict()
        speaker = {"train": set(), "validation": set(), "test": set()}
        for key, role in zip(table["key"], table["role"], strict=True):
            speaker[role].add(key.split("_")[1])
        assert len(speaker["test"]) == 1
        assert not speaker["test"] & (speaker["train"] | speaker["validation"])
        tested |= speaker["test"]
    assert len(tested) == 4
