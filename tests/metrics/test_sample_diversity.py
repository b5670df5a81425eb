"""Distances between examples against direct loops, and one-dimensional transport against scipy."""

import itertools
import math
import statistics
from importlib import import_module

import pytest
import scipy.stats
import torch

from danlu.metrics import diversity, memorization, nearest, sliced_wasserstein, wasserstein_1d


@pytest.fixture(autouse=True)
def few_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(import_module("danlu.metrics.distances"), "_ENTRIES", 100)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_diversity_is_the_mean_over_pairs():
    x = draw(37, 1, 2, 3)
    pairs = [math.dist(a.flatten().tolist(), b.flatten().tolist()) for a, b in itertools.combinations(x, 2)]
    assert diversity(x) == pytest.approx(statistics.mean(pairs), rel=1e-5)


def test_the_distance_of_a_sample_to_itself_is_not_counted():
    """Far from 0 and from the mean, the product of a sample with itself is rounded by more than its distance, 0."""
    x = torch.tensor([[300.0, 0.0], [300.0, 1.0], [-300.0, 0.0], [-300.0, 1.0]])
    pairs = [math.dist(a.tolist(), b.tolist()) for a, b in itertools.combinations(x.double(), 2)]
    assert diversity(x) == pytest.approx(statistics.mean(pairs), rel=1e-5)


def test_equal_samples_have_no_diversity():
    assert diversity(torch.full((40, 3), 0.7)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="at least 2"):
        diversity(torch.zeros(1, 3))


def test_nearest_equals_a_direct_loop():
    x, training = draw(23, 2, 2), draw(31, 2, 2, seed=1)
    found = nearest(x, training)
    for sample, distance, number in zip(x, found.distance, found.indices, strict=True):
        by_hand = [float((sample - example).norm()) for example in training]
        assert int(number) == by_hand.index(min(by_hand))
        assert float(distance) == pytest.approx(min(by_hand), rel=1e-6)


def test_a_copy_is_found_at_distance_zero():
    """Also where the examples lie far from zero, and a distance made of products would be rounding."""
    training = 1000 + draw(50, 20)
    found = nearest(training[[7, 30]], training)
    assert found.indices.tolist() == [7, 30]
    assert found.distance.tolist() == [0, 0]


def test_a_copy_is_found_beside_near_copies():
    training = 100 + torch.rand(50, 64, generator=torch.Generator().manual_seed(0))
    near = training + 1e-4
    for order, place in (([near, training], 50), ([training, near], 0)):
        found = nearest(training, torch.cat(order))
        assert not found.distance.any()
        assert torch.equal(found.indices, torch.arange(place, place + 50))
        assert not nearest(training, iter(order)).distance.any()


def test_diversity_of_copies_of_two_examples():
    """Of 50 · 49 / 2 pairs, 30 · 20 have the distance of the two examples, and the others 0."""
    for seed in range(5):
        one, other = draw(2, 64, seed=seed)
        found = diversity(torch.stack([one] * 30 + [other] * 20))
        assert found == pytest.approx(600 / 1225 * float((one - other).double().norm()), rel=1e-6)


def test_the_nearest_is_found_in_batches_too():
    samples, training = draw(20, 6, seed=0), draw(50, 6, seed=1)
    whole, parts = nearest(samples, training), nearest(samples, iter(training.split(17)))
    assert torch.equal(parts.indices, whole.indices)
    torch.testing.assert_close(parts.distance, whole.distance)
    twice = nearest(samples, (training, training))  # of two that are as near, the first
    assert torch.equal(twice.indices, whole.indices)
    with pytest.raises(ValueError, match="training must have at least one example"):
        nearest(samples, ())


def test_memorization_tells_copies_from_new_examples():
    training, held_out, new = (draw(400, 5, seed=seed) for seed in range(3))
    usual = nearest(held_out, training).distance
    assert memorization(nearest(new, training).distance, usual) == pytest.approx(1, abs=0.15)
    assert memorization(nearest(training[:100], training).distance, usual) == 0
    far = memorization(nearest(new + 10, training).distance, usual)
    medians = [
        statistics.median(float((x - training).norm(dim=1).min()) for x in part) for part in (new + 10, held_out)
    ]
    assert far == pytest.approx(medians[0] / medians[1], rel=1e-5)


def test_held_out_examples_that_are_all_in_the_training_set_say_nothing():
    x = torch.eye(3)
    none, some = nearest(x, x).distance, nearest(x + 1, x).distance
    assert math.isnan(memorization(none, none))
    assert memorization(some, none) == math.inf


@pytest.mark.unchecked
def test_sets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="the same shape"):
        nearest(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="must have at least one row"):
        nearest(torch.zeros(2, 3), torch.zeros(0, 3))


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 33), (1, 20), (7, 1)])
def test_one_dimension_equals_scipy(n, m):
    x, y = draw(n).double().round(decimals=1), 2 * draw(m, seed=1).double().round(decimals=1) + 0.5  # with ties
    assert float(wasserstein_1d(x, y)) == pytest.approx(scipy.stats.wasserstein_distance(x, y), rel=1e-12)
    assert sliced_wasserstein(x[:, None], y[:, None]) == pytest.approx(float(wasserstein_1d(x, y)), rel=1e-12)


@pytest.mark.parametrize("m", [40, 25])
def test_rows_are_independent(m):
    x, y = draw(3, 2, 40).double(), draw(3, 2, m, seed=1).double()
    found = wasserstein_1d(x, y)
    for place in itertools.product(range(3), range(2)):
        assert float(found[place]) == pytest.approx(scipy.stats.wasserstein_distance(x[place], y[place]), rel=1e-12)


def test_a_shift_is_seen_as_its_mean_projection():
    """In the plane the mean of |cos| over directions is 2/π; every projection of a shifted set is shifted alike."""
    x = draw(100, 2).double()
    found = sliced_wasserstein(x, x + torch.tensor([3.0, 4.0]), directions=20_000)
    assert found == pytest.approx(5 * 2 / math.pi, abs=5 * 5 * 0.31 / math.sqrt(20_000))


def test_the_same_directions_each_time():
    x, y = draw(30, 4), draw(20, 4, seed=1)
    assert sliced_wasserstein(x, y) == sliced_wasserstein(x, y) != sliced_wasserstein(x, y, seed=1)
    assert sliced_wasserstein(x, y[:1].expand(9, 4)) == pytest.approx(sliced_wasserstein(y[:1], x), rel=1e-9)


@pytest.mark.unchecked
def test_points_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="with the same d"):
        sliced_wasserstein(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="directions=0"):
        sliced_wasserstein(torch.zeros(2, 3), torch.zeros(2, 3), directions=0)
    with pytest.raises(ValueError, match="got 0 and 3"):
        wasserstein_1d(torch.zeros(0), torch.zeros(3))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_give_nan(value):
    x, y = draw(12, 3), draw(20, 3, seed=1)
    broken = x.clone()
    broken[4, 1] = value
    assert nearest(broken, y).distance.isnan().tolist() == [False] * 4 + [True] + [False] * 7
    for training in ((y, broken), (broken, y)):
        assert nearest(x, training).distance.isnan().all()
    usual = nearest(x, y).distance
    assert math.isnan(memorization(nearest(broken, y).distance, usual))
    assert math.isnan(memorization(usual, nearest(broken, y).distance))
    for score in (diversity(broken), sliced_wasserstein(broken, y), sliced_wasserstein(y[:12], broken)):
        assert math.isnan(score)
    for other in (y[:12], y):
        distances = wasserstein_1d(broken.T, other.T)
        assert distances.isnan().tolist() == [False, True, False]
