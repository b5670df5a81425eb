"""Robustness against counts made by hand."""

import math

import pytest
import torch

from danlu.metrics import under_noise, under_shift


def pixel(x):
    """Class 1 where the pixel in the middle of a 5×5 picture is bright."""
    bright = x[:, 0, 2, 2]
    return torch.stack([1 - bright, bright], 1)


def dots(*places):
    images = torch.zeros(len(places), 1, 5, 5)
    for number, (row, column) in enumerate(places):
        images[number, 0, row, column] = 1
    return images


def test_a_dot_in_the_middle_leaves_it_at_the_first_shift():
    found = under_shift(pixel, dots((2, 2)), torch.tensor([1]), (0, 1, 2))
    assert found.strengths == (0.0, 1.0, 2.0)
    assert found.accuracy == (1.0, 0.0, 0.0)


def test_each_of_the_four_directions_counts_once():
    """Dots one pixel left of, and two below the middle: one of four shifts brings each there."""
    found = under_shift(pixel, dots((2, 1), (4, 2)), torch.tensor([1, 1]), (0, 1, 2))
    assert found.accuracy == (0.0, 0.25 / 2, 0.25 / 2)


def test_pictures_are_left_as_they_were():
    images = dots((2, 1))
    before = images.clone()
    under_shift(pixel, images, torch.tensor([1]), (1,))
    under_noise(pixel, images, torch.tensor([1]), (0.5,))
    assert torch.equal(images, before)


def test_noise_crosses_a_threshold_as_often_as_the_normal_law_says():
    """A value of 0.75 falls below 0.5 with probability Φ(-0.25/σ)."""
    images = torch.full((20_000, 1, 5, 5), 0.75, dtype=torch.float64)
    labels = torch.ones(len(images), dtype=torch.long)
    for deviation, accuracy in zip((0.1, 0.25, 0.5), under_noise(pixel, images, labels, (0.1, 0.25, 0.5)).accuracy,
                                   strict=True):  # fmt: skip
        expected = 0.5 * (1 + math.erf(0.25 / deviation / math.sqrt(2)))
        assert accuracy == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / len(images)))


def test_noise_is_a_fraction_of_the_range_and_stays_inside_it():
    seen = []

    def classify(x):
        seen.append(x)
        return torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], 1)

    images = torch.zeros(50, 1, 5, 5)
    under_noise(classify, images, torch.zeros(50, dtype=torch.long), (0.1, 10.0), value_range=(-1.0, 1.0))
    assert seen[0].std() == pytest.approx(0.2, rel=0.1)
    assert (seen[1].min(), seen[1].max()) == (-1, 1)


def test_the_same_seed_gives_the_same_noise():
    torch.manual_seed(0)
    images, labels = torch.rand(300, 1, 5, 5), torch.randint(2, (300,))
    one, again, other = (under_noise(pixel, images, labels, (0.3, 0.6), seed=seed).accuracy for seed in (0, 0, 1))
    assert one == again != other


def test_outputs_that_are_nan_are_not_correct_predictions():
    def nowhere(x):
        return torch.full((len(x), 2), torch.nan)

    images, labels = torch.rand(3, 1, 8, 8), torch.zeros(3, dtype=torch.long)
    for found in (under_shift(nowhere, images, labels, (0, 1)), under_noise(nowhere, images, labels, (0.0, 0.1))):
        assert all(math.isnan(accuracy) for accuracy in found.accuracy)
