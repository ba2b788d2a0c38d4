import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from sampan.errors import DataError
from sampan.evaluation import retrieval, search
from sampan.evaluation.retrieval import chance, retrieve


@pytest.fixture
def pairs():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(60, 8)).astype(np.float32)
    return first, (first + generator.normal(size=(60, 8))).astype(np.float32)


def test_recall_agrees_with_scikit_learn_where_all_content_differs(pairs):
    first, second = pairs
    cosines = unit(first) @ unit(second).T

    found = measured(
        {"image": first, "text": second},
        {"image": np.arange(60), "text": np.arange(60)},
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
    found = measured(
        {"image": np.eye(3, dtype=np.float32), "text": np.eye(3, dtype=np.float32)[[0, 0, 2]]},
        {"image": np.arange(3), "text": np.array([4, 4, 7])},
    )

    assert found["image→text/recall_at_1"]["value"] == pytest.approx(2 / 3)
    assert found["text→image/recall_at_1"]["value"] == pytest.approx(2 / 3)


def test_a_model_that_embeds_everything_alike_comes_last():
    same = np.ones((20, 4), dtype=np.float32)

    assert ranks(same, same, np.arange(20)).tolist() == [20] * 20


def test_ranks_do_not_depend_on_how_the_scores_are_cut(pairs, monkeypatch):
    contents = np.arange(60) // 2
    whole = ranks(pairs[0], pairs[1], contents)
    monkeypatch.setattr(search, "QUERIES_AT_ONCE", 11)
    monkeypatch.setattr(search, "ITEMS_AT_ONCE", 7)

    cut = ranks(pairs[0], pairs[1], contents)

    assert cut.tolist() == whole.tolist()


def test_random_embeddings_score_as_chance_says():
    generator = np.random.default_rng(0)
    embeddings = {name: generator.normal(size=(2000, 32)) for name in ("image", "text")}
    contents = {"image": np.arange(2000), "text": np.arange(2000) % 100}
    embeddings["text"] = embeddings["text"][contents["text"]]

    found = measured(embeddings, contents)

    expected = chance(directions(embeddings, contents))
    assert expected["image→text/recall_at_10"] == 0.1
    assert found["image→text/recall_at_10"]["value"] == pytest.approx(0.1, abs=0.03)
    assert found["image→text/median_rank"]["value"] == pytest.approx(50.5, abs=5)
    assert expected["text→image/recall_at_10"] == 0.005


def test_the_nearest_items_come_best_first_and_each_once():
    query = np.array([[1.0, 0.0]] * 4, dtype=np.float32)
    target = np.array([[0, 1], [1, 1], [1, 0], [1, 0]], dtype=np.float32)

    _, rows, cosines, *_ = found_for(query, target, np.array([3, 2, 1, 1]), nearest=3)

    assert rows.tolist() == [[2, 1, 0]] * 4
    assert cosines[0] == pytest.approx([1, np.sqrt(0.5), 0])


def test_encoders_that_share_no_space_cannot_be_compared():
    embeddings = {"image": np.ones((3, 4)), "text": np.ones((3, 5))}

    with pytest.raises(DataError, match="image 4, text 5; take encoders that share a space"):
        measured(embeddings, {})


@pytest.mark.parametrize("tile", [3, 16, 2048])
@pytest.mark.parametrize("threads", [1, 3])
def test_nearest_items_and_ranks_are_those_of_all_pairs(monkeypatch, tile, threads):
    monkeypatch.setattr(search, "ITEMS_AT_ONCE", tile)
    monkeypatch.setattr(search, "QUERIES_AT_ONCE", 50)
    generator = np.random.default_rng(0)
    query, target = generator.integers(-2, 3, size=(2, 200, 4)).astype(np.float32)  # many ties
    contents = generator.integers(0, 90, size=200)
    first, own = retrieval.item_of_row(contents)
    scores = unit(query.astype(np.float64)) @ unit(target[first].astype(np.float64)).T
    right = scores[np.arange(200), own][:, None]
    expected = (scores >= right - 1e-6).sum(axis=1)

    found = retrieve(query, target, contents, nearest=5, most_items=1000, seed=0, threads=threads)

    assert found.rank.tolist() == expected.tolist()
    assert np.allclose(found.cosines, -np.sort(-scores, axis=1)[:, :5], atol=1e-6)
    shown = (unit(query)[:, None] * unit(target)[found.rows]).sum(axis=2)
    assert np.allclose(shown, found.cosines, atol=1e-6)
    assert all(len(set(row)) == 5 for row in contents[found.rows].tolist())
    assert np.isin(found.rows, first).all()


def test_of_equal_scores_the_first_item_comes_first():
    same = np.ones((50, 4), np.float32)

    found = found_for(same, same, np.arange(50), nearest=4)

    assert found.rows.tolist() == [[0, 1, 2, 3]] * 50


def test_of_too_many_items_a_sample_is_compared_and_the_names_say_so(monkeypatch):
    generator = np.random.default_rng(0)
    embeddings = dict(zip(("image", "text"), generator.normal(size=(2, 3000, 16)), strict=True))
    contents = dict.fromkeys(embeddings, np.arange(3000))

    found = retrieval.retrieval_metrics(
        directions(embeddings, contents, most_items=1000), resamples=100, seed=0
    )

    assert found["image→text/recall_at_10_of_1000"]["value"] == pytest.approx(0.01, abs=0.007)
    assert found["image→text/median_rank_of_1000"]["value"] == pytest.approx(500, abs=30)
    assert all(name.endswith("_of_1000") for name in found)


def test_a_sampled_comparison_finds_the_right_item_too():
    vectors = np.random.default_rng(0).normal(size=(3000, 16))

    found = found_for(vectors, vectors, np.arange(3000), nearest=5, most_items=1000)

    assert (found.rank == 1).all()
    assert found.rows[:, 0].tolist() == list(range(3000))
    assert all(len(set(row)) == 5 for row in found.rows.tolist())
    assert (found.compared, found.sampled) == (1000, True)


def found_for(queries, targets, contents, *, nearest=1, most_items=10_000):
    queries, targets = (vectors.astype(np.float32) for vectors in (queries, targets))
    return retrieve(queries, targets, contents, nearest=nearest, most_items=most_items, seed=0)


def ranks(queries, targets, contents):
    return found_for(queries, targets, contents).rank


def directions(embeddings, contents, most_items=10_000):
    return {
        (one, other): found_for(
            embeddings[one], embeddings[other], contents[other], most_items=most_items
        )
        for one, other in retrieval.directions(embeddings)
    }


def measured(embeddings, contents):
    return retrieval.retrieval_metrics(directions(embeddings, contents), resamples=100, seed=0)


def unit(vectors):
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)
