import numpy as np
import pytest
from scipy.stats import binomtest

from sampan.errors import DataError
from sampan.evaluation import bootstrap
from sampan.evaluation.bootstrap import interval_of_median, intervals, intervals_of_kinds


def test_the_interval_of_a_mean_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).normal(5, 2, size=2000)

    found = intervals({"mean": mean_of(values)}, len(values), resamples=4000, seed=0)["mean"]

    error = 1.959964 * values.std() / np.sqrt(len(values))
    assert found["value"] == pytest.approx(values.mean())
    assert found["low"] == pytest.approx(values.mean() - error, abs=0.01)
    assert found["high"] == pytest.approx(values.mean() + error, abs=0.01)


def test_the_interval_covers_the_truth_in_about_95_of_100_trials():
    generator = np.random.default_rng(1)
    covered = 0

    for trial in range(400):
        hits = generator.random(200) < 0.8
        found = intervals({"share": mean_of(hits)}, 200, resamples=300, seed=trial)["share"]
        covered += found["low"] <= 0.8 <= found["high"]

    assert 0.90 <= covered / 400 <= 0.98


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(0).normal(size=100)

    def interval(seed):
        return intervals({"mean": mean_of(values)}, 100, resamples=200, seed=seed)

    assert interval(3) == interval(3)
    assert interval(3) != interval(4)


def test_all_statistics_see_the_same_resamples_however_they_are_cut(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", 7 * 50)

    found = intervals(
        {"mean": mean_of(values), "negative": mean_of(-values)}, 50, resamples=200, seed=0
    )

    assert found["mean"]["low"] == pytest.approx(-found["negative"]["high"])


@pytest.mark.parametrize("samples", [1, 20, 396])
@pytest.mark.parametrize("hit", [True, False])
def test_a_share_of_all_samples_or_of_none_has_the_exact_interval(samples, hit):
    hits = np.full(samples, hit)

    counts = np.bincount(hits, minlength=2)
    found = intervals_of_kinds(
        {"share": lambda drawn: drawn[:, 1] / samples}, counts, resamples=100, seed=0,
        shares=("share",),
    )["share"]  # fmt: skip

    exact = binomtest(samples * hit, samples).proportion_ci(0.95, method="exact")
    assert (found["low"], found["high"]) == pytest.approx((exact.low, exact.high))
    assert found["low"] < found["high"]


def test_no_samples_are_an_error():
    with pytest.raises(DataError, match="test split has no samples"):
        intervals({"mean": mean_of(np.empty(0))}, 0, resamples=100, seed=0)


@pytest.mark.parametrize("samples", [1, 2, 7, 40, 301])
def test_the_median_of_resamples_is_distributed_as_that_of_drawn_samples(samples):
    values = np.random.default_rng(samples).integers(1, 60, size=samples)
    resamples = 40_000
    numbers = np.random.default_rng(1).integers(samples, size=(resamples, samples))
    medians = np.median(values[numbers], axis=1)
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "_metric", lambda value, found: drawn.append(found))
        interval_of_median(values, resamples=resamples, seed=0)

    expected, counted = (np.unique(found, return_counts=True) for found in (medians, drawn[0]))

    shares = {float(value): count / resamples for value, count in zip(*expected, strict=True)}
    for value, count in zip(*counted, strict=True):
        assert count / resamples == pytest.approx(shares.get(float(value), 0), abs=0.012)


def test_counts_of_kinds_are_distributed_as_those_of_drawn_samples():
    kinds = np.repeat([0, 1, 2], [3, 30, 67])
    numbers = np.random.default_rng(1).integers(100, size=(20_000, 100))
    expected = np.sort((kinds[numbers] == 1).mean(axis=1))

    found = intervals_of_kinds(
        {"one": lambda drawn: drawn[:, 1] / 100}, np.bincount(kinds), resamples=20_000, seed=0
    )["one"]

    assert found["value"] == 0.3
    assert found["low"] == pytest.approx(np.quantile(expected, 0.025), abs=0.011)
    assert found["high"] == pytest.approx(np.quantile(expected, 0.975), abs=0.011)


def mean_of(values):
    return lambda numbers: values[numbers].mean(axis=1)
