"""Covered modes against counts made by hand, a direct loop, and the probability that a Gaussian gives."""

import math

import pytest
import torch

from danlu.data.datasets.toy_2d import (
    GRID_DEVIATION,
    RING_DEVIATION,
    grid_centers,
    ring_centers,
    sample_grid,
    sample_ring,
)
from danlu.metrics import classes_covered, covered_by, modes


def test_the_data_themselves_cover_every_mode():
    """Within three deviations of a Gaussian in the plane lies 1 - exp(-9/2) of it."""
    for sample, centers, deviation in (
        (sample_ring, ring_centers(), RING_DEVIATION),
        (sample_grid, grid_centers(), GRID_DEVIATION),
    ):
        x, _ = sample(20_000, torch.Generator().manual_seed(0))
        found = modes(x, centers, deviation)
        expected = 1 - math.exp(-9 / 2)
        assert found.good == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / len(x)))
        assert found.covered == len(centers)


def test_equal_to_a_direct_loop():
    source = torch.Generator().manual_seed(1)
    x, centers = 3 * torch.randn(300, 2, generator=source), 3 * torch.randn(6, 2, generator=source)
    good, counts = 0, [0] * 6
    for point in x:
        distances = [math.dist(point.tolist(), center.tolist()) for center in centers]
        if min(distances) <= 2.5 * 0.7:
            good += 1
            counts[distances.index(min(distances))] += 1
    found = modes(x, centers, deviation=0.7, within=2.5, minimum=20)
    assert found.good == good / 300
    assert found.counts.tolist() == counts
    assert found.covered == sum(count >= 20 for count in counts)


def test_a_mode_takes_twenty_of_2500_samples():
    x = torch.cat([torch.zeros(20, 1), torch.full((19, 1), 10.0), torch.full((2461, 1), 99.0)])
    centers = torch.tensor([[0.0], [10.0]])
    found = modes(x, centers, deviation=0.1)
    assert found.covered == 1
    assert found.counts.tolist() == [20, 19]
    assert found.good == 39 / 2500
    assert modes(x, centers, deviation=0.1, minimum=1).covered == 2  # as in the paper


@pytest.mark.parametrize(("samples", "least"), [(2500, 20), (5000, 40), (1, 1), (125, 1), (126, 2)])
def test_the_threshold_grows_with_the_number_of_samples(samples, least):
    assert covered_by(torch.tensor([least]), samples) == 1
    assert covered_by(torch.tensor([least - 1]), samples) == 0


def test_what_is_not_finite_is_not_good():
    x = torch.tensor([[math.nan, 0.0], [math.inf, 0.0], [0.0, 0.0]])
    found = modes(x, torch.zeros(1, 2), deviation=1.0, minimum=1)
    assert math.isnan(found.good)
    assert found.counts.tolist() == [1]


def test_classes_are_covered_from_the_threshold_on():
    guesses = torch.tensor([0] * 40 + [2] * 39 + [3] * 4921)
    assert classes_covered(guesses, classes=5) == 2
    assert classes_covered(guesses, classes=5, minimum=1) == 3
    assert classes_covered(guesses[:0], classes=5) == 0


@pytest.mark.unchecked
def test_what_makes_no_sense_is_refused():
    x, centers = torch.zeros(3, 2), torch.zeros(1, 2)
    with pytest.raises(ValueError, match="same d"):
        modes(x, torch.zeros(1, 3), 1.0)
    with pytest.raises(ValueError, match="got 0 and 1"):
        modes(x[:0], centers, 1.0)
    with pytest.raises(ValueError, match="deviation=0"):
        modes(x, centers, 0.0)
    with pytest.raises(ValueError, match="minimum=0"):
        modes(x, centers, 1.0, minimum=0)
    with pytest.raises(ValueError, match="predictions must be from 0 to 4, got 0 to 7"):
        classes_covered(torch.tensor([0, 7]), classes=5)
