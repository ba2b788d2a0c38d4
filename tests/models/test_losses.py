import numpy as np
import pytest
import torch

from sampan.models.losses import contrastive, infonce, same_content, siglip


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(2, 6, 4))
    return vectors / np.linalg.norm(vectors, axis=2, keepdims=True)


def test_infonce_is_the_symmetric_softmax_over_the_batch(pair):
    scores = np.exp(7 * pair[0] @ pair[1].T)
    there = -np.log(np.diag(scores) / scores.sum(axis=1)).mean()
    back = -np.log(np.diag(scores) / scores.sum(axis=0)).mean()

    found = infonce(*map(torch.tensor, pair), scale=torch.tensor(7.0), ignored=none(6))

    assert found.item() == pytest.approx((there + back) / 2)


def test_siglip_is_a_sigmoid_for_each_pair(pair):
    signs = 2 * np.eye(6) - 1
    scores = 10 * pair[0] @ pair[1].T - 10
    expected = np.log1p(np.exp(-signs * scores)).sum() / 6

    found = siglip(
        *map(torch.tensor, pair),
        scale=torch.tensor(10.0),
        bias=torch.tensor(-10.0),
        ignored=none(6),
    )

    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("bias", [None, torch.tensor(-1.0, dtype=torch.float64)])
def test_gradients_agree_with_finite_differences(pair, bias):
    first, second = (torch.tensor(vectors, requires_grad=True) for vectors in pair)
    contents = torch.tensor([0, 0, 1, 2, 3, 4])
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)

    def loss(first, second, scale):
        return contrastive(
            {"a": first, "b": second},
            {"a": torch.arange(6), "b": contents},
            scale=scale,
            bias=bias,
        )

    assert torch.autograd.gradcheck(loss, (first, second, scale))


def test_pairs_that_share_content_in_either_modality_are_no_negatives():
    found = same_content(torch.tensor([1, 2, 3, 3]), torch.tensor([5, 5, 6, 7]))

    assert found.nonzero().tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]


def test_an_ignored_pair_pushes_nothing_away(pair):
    first = torch.tensor(pair[0])
    second = torch.tensor(pair[1], requires_grad=True)
    contents = {"a": torch.arange(6), "b": torch.zeros(6, dtype=torch.int64)}

    loss = contrastive({"a": first, "b": second}, contents, scale=torch.tensor(5.0), bias=None)

    assert loss.item() == 0


def test_three_modalities_give_the_mean_over_their_pairs(pair):
    a, b = map(torch.tensor, pair)
    c = b.flip(0)
    rows = torch.arange(6)
    scale = torch.tensor(4.0)

    found = contrastive(
        {"a": a, "b": b, "c": c}, dict.fromkeys("abc", rows), scale=scale, bias=None
    )

    each = [infonce(x, y, scale=scale, ignored=none(6)) for x, y in [(a, b), (a, c), (b, c)]]
    assert found.item() == pytest.approx(sum(each).item() / 3)


def none(rows):
    return torch.zeros((rows, rows), dtype=torch.bool)
