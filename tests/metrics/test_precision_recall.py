"""Precision, recall, density and coverage against direct loops, and cases with known values."""

import math
from importlib import import_module

import pytest
import torch

from danlu.data import digits
from danlu.metrics import precision_recall, radii


@pytest.fixture(autouse=True)
def few_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(import_module("danlu.metrics.distances"), "_ENTRIES", 100)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(real, fake, k):
    real, fake = real.tolist(), fake.tolist()

    def radius(x, others):
        return sorted(math.dist(x, other) for other in others if other is not x)[k - 1]

    def inside(points, centers):
        balls = [(center, radius(center, centers)) for center in centers]
        return [sum(math.dist(point, center) <= r for center, r in balls) for point in points]

    around = inside(fake, real)
    precision = sum(count > 0 for count in around) / len(fake)
    recall = sum(count > 0 for count in inside(real, fake)) / len(real)
    coverage = sum(any(math.dist(x, y) <= radius(x, real) for y in fake) for x in real) / len(real)
    return precision, recall, sum(around) / (k * len(fake)), coverage


@pytest.mark.parametrize(("n", "m", "k"), [(40, 40, 3), (30, 50, 5), (5, 4, 1)])
def test_equal_to_direct_loops(n, m, k):
    real, fake = draw(n, 3), 1.3 * draw(m, 3, seed=1) + 0.5
    assert precision_recall(real, fake, k) == pytest.approx(by_loops(real, fake, k), rel=1e-12)


def test_the_same_set_is_perfect():
    x = draw(50, 4)
    found = precision_recall(x, x)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)


def test_sets_far_apart_share_nothing():
    assert precision_recall(draw(50, 4), draw(50, 4, seed=1) + 100) == (0, 0, 0, 0)


def test_a_generator_that_knows_one_of_two_modes():
    """Its samples look like data, and half of the data are out of its reach."""
    away = torch.tensor([50.0, 0.0])
    real = torch.cat([draw(100, 2), draw(100, 2, seed=1) + away])
    found = precision_recall(real, draw(200, 2, seed=2))
    assert found.precision > 0.8
    assert found.recall == pytest.approx(0.5, abs=0.05)
    assert found.coverage == pytest.approx(0.5, abs=0.05)


def test_one_outlier_of_the_samples_deceives_recall_but_not_coverage():
    """A far sample's ball spans the data; balls around the data stay as they are (Naeem et al., 2020)."""
    real, fake = draw(50, 2), torch.cat([draw(20, 2, seed=1) + 30, torch.tensor([[-60.0, -60.0]]).double()])
    found = precision_recall(real, fake)
    assert found.recall == 1
    assert found.coverage == 0


def test_equal_examples_are_neighbors_at_no_distance():
    x = torch.tensor([[0.0], [0.0], [5.0]])
    assert radii(x, neighbors=1).tolist() == [0, 0, 5]


@pytest.mark.parametrize("seed", range(4))
def test_copies_of_two_points_lie_in_each_others_balls(seed):
    """All radii are 0, and each point is in the 13 balls around the data at the same point: density is 13 / 3."""
    one, other = draw(2, 64, seed=seed).float()
    real, fake = (torch.stack([one] * n + [other] * m) for n, m in ((13, 13), (20, 7)))
    assert precision_recall(real, fake) == (1, 1, pytest.approx(13 / 3), 1)


def test_binary_images_whose_distances_are_often_equal(monkeypatch):
    """Squared distances of binary images are integers, so radii and balls can be computed exactly."""
    monkeypatch.undo()
    data = digits()
    real, fake = (part["image"][:359].flatten(1) >= 0.5 for part in (data.train, data.test))
    k = 3

    def squared(a, b):
        return torch.stack([(row != b).sum(1) for row in a])

    radius = [squared(x, x).fill_diagonal_(1000).kthvalue(k, dim=1).values for x in (real, fake)]
    across = squared(real, fake)
    in_ball, in_ball_of_fake = across <= radius[0][:, None], across <= radius[1]
    expected = (in_ball.any(0).double().mean(), in_ball_of_fake.any(1).double().mean())
    expected += (int(in_ball.sum()) / (k * len(fake)), in_ball.any(1).double().mean())
    found = precision_recall(real.float(), fake.float(), k)
    assert found == pytest.approx([float(value) for value in expected], rel=1e-12)


@pytest.mark.unchecked
def test_what_cannot_be_compared_is_refused():
    x = draw(6, 4)
    with pytest.raises(ValueError, match=r"neighbors=3 .* examples, 3"):
        precision_recall(x, x[:3])
    with pytest.raises(ValueError, match="neighbors=0"):
        precision_recall(x, x, neighbors=0)
    with pytest.raises(ValueError, match="infinite or NaN"):
        precision_recall(x, x / 0)
    with pytest.raises(ValueError, match="same d"):
        precision_recall(x, x[:, :3])
