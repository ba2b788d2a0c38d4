import numpy as np
import pyarrow.parquet as pq
import pytest
from workflows.clone import named_run

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def avdigits(data, tmp_path_factory):
    return named_run("avdigits", data, tmp_path_factory.mktemp("avdigits"))


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


def test_each_model_is_tested_on_one_speaker_and_trained_on_others(avdigits):
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
