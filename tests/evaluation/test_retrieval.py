import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from sampan.errors import DataError
from sampan.evaluation import retrieval
from sampan.evaluation.retrieval import chance, nearest, ranks, retrieval_metrics


@pytest.fixture
def pairs():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(60, 8)).astype(np.float32)
    return first, (first + generator.normal(size=(60, 8))).astype(np.float32)


def test_recall_agrees_with_scikit_learn_where_all_content_differs(pairs):
    first, second = pairs
    cosines = unit(first) @ unit(second).T

    found = retrieval_metrics(
        {"image": first, "text": second},
        {"image": np.arange(60), "text": np.arange(60)},
        resamples=100,
        seed=0,
    )

    for k in (1, 5, 10):
        there = top_k_accuracy_score(np.arange(60), cosines, k=k)
        back = top_k_accuracy_score(np.arange(60), cosines.T, k=k)
        assert found[f"image→text/recall_at_{k}"]["value"] == pytest.approx(there)
        assert found[f"text→image/recall_at_{k}"]["value"] == pytest.approx(back)


def test_rows_with_identical_content_are_one_item():
    query = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    target = np.array([[0.9, 0.1], [0.9, 0.1], [0, 1]], dtype=np.float32)

    assert ranks(query, target, np.array([5, 5, 9])).tolist() == [1, 1, 1]
    assert ranks(query, target, np.array([5, 6, 9])).tolist() == [2, 2, 1]


def test_queries_with_identical_content_count_each():
    found = retrieval_metrics(
        {"image": np.eye(3, dtype=np.float32), "text": np.eye(3, dtype=np.float32)[[0, 0, 2]]},
        {"image": np.arange(3), "text": np.array([4, 4, 7])},
        resamples=100,
        seed=0,
    )

    assert found["image→text/recall_at_1"]["value"] == pytest.approx(2 / 3)
    assert found["text→image/recall_at_1"]["value"] == pytest.approx(2 / 3)


def test_a_model_that_embeds_everything_alike_comes_last():
    same = np.ones((20, 4), dtype=np.float32)

    assert ranks(same, same, np.arange(20)).tolist() == [20] * 20


def test_ranks_do_not_depend_on_how_the_scores_are_cut(pairs, monkeypatch):
    contents = np.arange(60) // 2
    whole = ranks(pairs[0], pairs[1], contents)
    monkeypatch.setattr(retrieval, "SCORES_AT_ONCE", 64)
    monkeypatch.setattr(retrieval, "ITEMS_AT_ONCE", 7)

    cut = ranks(pairs[0], pairs[1], contents)

    assert cut.tolist() == whole.tolist()


def test_random_embeddings_score_as_chance_says():
    generator = np.random.default_rng(0)
    embeddings = {name: generator.normal(size=(2000, 32)) for name in ("image", "text")}
    contents = {"image": np.arange(2000), "text": np.arange(2000) % 100}
    embeddings["text"] = embeddings["text"][contents["text"]]

    found = retrieval_metrics(embeddings, contents, resamples=100, seed=0)

    expected = chance(contents)
    assert expected["image→text/recall_at_10"] == 0.1
    assert found["image→text/recall_at_10"]["value"] == pytest.approx(0.1, abs=0.03)
    assert found["image→text/median_rank"]["value"] == pytest.approx(50.5, abs=5)
    assert expected["text→image/recall_at_10"] == 0.005


def test_the_nearest_items_come_best_first_and_each_once():
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    target = np.array([[0, 1], [1, 1], [1, 0], [1, 0]], dtype=np.float32)

    rows, cosines = nearest(query, target, np.array([3, 2, 1, 1]), count=3)

    assert rows.tolist() == [[2, 1, 0]]
    assert cosines[0] == pytest.approx([1, np.sqrt(0.5), 0])


def test_encoders_that_share_no_space_cannot_be_compared():
    embeddings = {"image": np.ones((3, 4)), "text": np.ones((3, 5))}

    with pytest.raises(DataError, match="image 4, text 5; take encoders that share a space"):
        retrieval_metrics(embeddings, {}, resamples=100, seed=0)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
