import numpy as np
import pytest
import yaml
from workflows.clone import named_run

import sampan

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def emoji(data, tmp_path_factory):
    return named_run("emoji", data, tmp_path_factory.mktemp("emoji"))


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


def test_variants_of_one_emoji_never_straddle_splits(emoji):
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
