"""Activity of latent units against numpy, and where the border is."""

import math

import numpy as np
import pytest
import torch

from danlu.metrics import ACTIVE, active, active_count, activity


def test_activity_equals_numpy():
    codes = torch.randn(37, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * torch.arange(5)
    np.testing.assert_allclose(activity(codes).numpy(), np.var(codes.numpy(), axis=0), rtol=1e-12)


def test_a_unit_is_active_above_a_hundredth():
    side = torch.tensor([[1.0, 1.0, 0.0], [-1.0, -1.0, 0.0]], dtype=torch.float64)
    codes = side * torch.tensor([(1.01 * ACTIVE) ** 0.5, (0.99 * ACTIVE) ** 0.5, 1.0], dtype=torch.float64)
    assert active(codes).tolist() == [True, False, False]


def test_a_single_example_activates_nothing():
    assert not active(torch.ones(1, 3)).any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_the_number_of_active_units_is_not_known_of_codes_that_are_not_finite(value):
    codes = torch.randn(5, 3)
    assert active_count(codes) == 3
    codes[1, 1] = value
    assert math.isnan(active_count(codes))
