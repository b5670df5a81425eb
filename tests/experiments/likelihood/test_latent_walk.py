"""Differences and likelihoods of a walk by hand, and verdicts on walks that are made up."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from danlu.data.base.density import bits_per_dimension
from danlu.data.datasets.digits import digits
from danlu.experiments.likelihood import latent_walk
from danlu.experiments.likelihood.latent_walk import ALIKE, CONTINUOUS, NEAR, PROBABLE
from danlu.rng import generator


def test_distances_by_hand():
    walk = torch.arange(4.0).view(2, 2, 1)
    assert sorted(latent_walk.neighbor_distances(walk).tolist()) == [1.0] * 4 + [2.0] * 4
    pairs = itertools.combinations(range(4), 2)
    assert latent_walk.shuffled_distance(walk.flatten(0, 1)) == pytest.approx(np.mean([b - a for a, b in pairs]))
    assert latent_walk.nearest_distance(torch.tensor([[[[1.5]]], [[[4.0]]]]), walk.view(4, 1, 1, 1)) == 0.75


def test_blends_are_rounded_means_of_two_anchors():
    anchors = torch.tensor([0.0, 1.0, 0.25, 0.5]).view(4, 1, 1, 1)
    found = latent_walk.blended(anchors, 16)
    assert found.flatten().tolist()[:6] == [0.25, 0.5, 0.75, 0.3125, 0.375, 0.4375]  # 0 to 1, and 2 to 3
    assert found.flatten().tolist()[6:] == [0.0625, 0.125, 0.1875, 0.875, 0.75, 0.625]  # 0 to 2, and 1 to 3


def test_the_bits_of_a_normal_distribution():
    data = digits()
    train, test = (part["image"].flatten(1).double().numpy() for part in (data.train, data.test))
    u = torch.rand(test.shape, generator=generator("another draw", 0)).double().numpy()
    # uniform noise adds half of a level to the means and 1/12 of its square to the variances
    p = stats.multivariate_normal(train.mean(0) + 1 / 32, np.cov(train.T) + np.eye(64) / 16**2 / 12)
    nats = torch.from_numpy(p.logpdf(test + u / 16) - 64 * np.log(16))
    expected = float(bits_per_dimension(nats, 64).mean())
    assert latent_walk.normal_bits(data.test) == pytest.approx(expected, abs=0.02)


class MadeUp(torch.nn.Module):
    """A flow of which only the walk and the density are used.

    Args:
        weights: from the products of the sines and cosines of both angles to the weights of the four anchors.
        density: a log-density, by default one that falls with the distance from the mean digit. A constant is added, so
            that the flow passes the gate.
    """

    def __init__(self, weights, density=None):
        super().__init__()
        self.weights, self.mean = weights, digits().train["image"].mean(0)
        self.density = density or (lambda x: -(x - self.mean).flatten(1).square().sum(1))

    def latent_walk(self, anchors, steps):
        angle = torch.arange(steps) * (2 * np.pi / steps)
        circle = torch.stack([angle.cos(), angle.sin()], 1)
        parts = torch.einsum("ip,jq->ijpq", circle, circle).flatten(2)
        return torch.einsum("ijk,k...->ij...", self.weights(parts), anchors)

    def log_prob(self, x):
        return 1000 + self.density(x)

    @property
    def capabilities(self):
        return frozenset({"density"})


def smooth(parts):
    """Convex weights: a blend of the digits, which is continuous and near the mean digit."""
    return parts.square()


def jumping(parts):
    """Only the largest part: the images jump from one digit to the next."""
    return torch.nn.functional.one_hot(parts.square().argmax(-1), 4).to(parts.dtype)


def scattered(parts):
    """The images of a smooth walk in random order."""
    flat = parts.square().flatten(0, 1)
    return flat[torch.randperm(len(flat), generator=torch.Generator().manual_seed(0))].view_as(parts)


def constant(parts):
    return torch.full_like(parts, 0.25)


def judgment(monkeypatch, *arguments):
    monkeypatch.setattr(latent_walk, "train", lambda seed, rounds: MadeUp(*arguments))
    monkeypatch.setattr(latent_walk, "QUICK", latent_walk.Size(16, 1, 1, 0))
    return latent_walk.EXPERIMENT.run(quick=True).verdict.judgment


def test_a_smooth_walk_passes_and_a_constant_one_decides_nothing(monkeypatch):
    found = judgment(monkeypatch, smooth)
    assert all(found.supported(one.clause) for one in (CONTINUOUS, ALIKE, PROBABLE, *latent_walk.CRITERIA.gates))
    assert judgment(monkeypatch, constant).word == "not decided"


def test_jumps_are_not_continuous(monkeypatch):
    found = judgment(monkeypatch, jumping)
    assert found.refuted(CONTINUOUS.clause)
    assert found.supported(NEAR.clause)


def test_a_random_order_is_neither_continuous_nor_alike(monkeypatch):
    found = judgment(monkeypatch, scattered)
    assert found.refuted(CONTINUOUS.clause)
    assert found.refuted(ALIKE.clause)


def test_images_that_are_less_probable_than_digits_are_noticed(monkeypatch):
    mean = digits().train["image"].mean(0)
    found = judgment(monkeypatch, smooth, lambda x: (x - mean).flatten(1).square().sum(1))
    assert not found.supported(PROBABLE.clause)
    assert found.finding(PROBABLE.clause).interval.mean < 0.25


def test_a_poor_flow_decides_nothing(monkeypatch):
    found = judgment(monkeypatch, smooth, lambda x: -1000 - (x - 0.5).flatten(1).square().sum(1))
    assert found.word == "not decided"
