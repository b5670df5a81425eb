"""Activation normalization: its initialization from data."""

import pytest
import torch

from danlu.nn import ActNorm


@pytest.mark.parametrize("value", [0.0, 1000.1, -3e-5, 1e20])
def test_a_constant_channel_keeps_its_scale(value):
    norm = ActNorm(1)
    norm.initialize(torch.full((64, 1), value))
    assert norm.log_scale.item() == 0
    torch.testing.assert_close(norm.shift, torch.tensor([value]))


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e6])
def test_channels_of_every_scale_are_normalized(scale):
    x = scale * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    z = ActNorm(2).initialize(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(2), rtol=1e-5, atol=0)
