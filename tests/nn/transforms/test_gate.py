"""The gate of inverse autoregressive flow; its laws in an autoregressive transform are in test_autoregressive.py."""

import math

import pytest
import torch

from danlu.nn import Gate


def inputs():
    source = torch.Generator().manual_seed(0)
    draw = lambda *shape: 3 * torch.randn(shape, generator=source, dtype=torch.float64)  # noqa: E731
    return draw(20), draw(20, 2)


@pytest.mark.parametrize("bias", [0.0, 2.0, -1.0])
def test_it_is_the_published_formula(bias):
    x, parameters = inputs()
    m, s = parameters.unbind(-1)
    weight = 1 / (1 + (-s - bias).exp())
    z, log_slope = Gate(bias)(x, parameters)
    torch.testing.assert_close(z, weight * x + (1 - weight) * m, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(log_slope, weight.log(), rtol=1e-12, atol=1e-12)


def test_the_default_keeps_most_of_a_value():
    z, log_slope = Gate()(torch.tensor([1.0]), torch.zeros(1, 2))
    assert z.item() == pytest.approx(1 / (1 + math.exp(-2)))
    assert log_slope.exp().item() == pytest.approx(1 / (1 + math.exp(-2)))


@pytest.mark.parametrize("raw", [-1e4, -100.0, 100.0, 1e4])
def test_closed_and_open_gates_are_finite(raw):
    x, m = torch.tensor([5.0]), torch.tensor([-1.0])
    z, log_slope = Gate()(x, torch.tensor([[m.item(), raw]], requires_grad=True))
    assert z.item() == pytest.approx(m.item() if raw < 0 else x.item())
    assert log_slope.item() == pytest.approx(min(raw + 2, 0.0), abs=1e-6)


@pytest.mark.parametrize("bias", [math.nan, math.inf])
def test_a_bias_that_is_not_finite_is_refused(bias):
    with pytest.raises(ValueError, match="must be a finite number"):
        Gate(bias)
