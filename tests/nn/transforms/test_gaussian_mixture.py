"""The mixture of normal distributions beside torch's distributions, also far from all means."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from danlu.nn import GaussianMixture


def mixture_of(n=200, components=4, spread=2.0):
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(n, 3 * components, generator=generator, dtype=torch.float64)
    parameters[:, components : 2 * components] *= spread
    logits, means, log_scales = parameters.unflatten(1, (3, -1)).unbind(1)
    expected = MixtureSameFamily(Categorical(logits=logits), Normal(means, log_scales.exp()))
    return GaussianMixture(components, bound=None), parameters, expected


def normal_log_prob(z):
    return Normal(torch.zeros((), dtype=z.dtype), 1.0).log_prob(z)


@pytest.mark.parametrize("scale", [1.0, 10.0, 1000.0])
def test_the_density_is_that_of_the_mixture(scale):
    mixture, parameters, expected = mixture_of()
    x = scale * torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    z, log_slope = mixture(x, parameters)
    torch.testing.assert_close(normal_log_prob(z) + log_slope, expected.log_prob(x), rtol=1e-9, atol=1e-9)


def test_the_distribution_function_of_z_is_that_of_the_mixture():
    mixture, parameters, expected = mixture_of()
    x = 3 * torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    z, _ = mixture(x, parameters)
    torch.testing.assert_close(torch.special.ndtr(z), expected.cdf(x), rtol=1e-9, atol=1e-12)


def test_one_component_is_an_affine_function_also_far_away():
    mixture = GaussianMixture(1, bound=None)
    x = torch.tensor([-1e4, -300.0, -40.0, -1.0, 0.0, 1.0, 40.0, 300.0, 1e4], dtype=torch.float64)
    parameters = torch.tensor([[0.7, 2.0, 0.3]], dtype=torch.float64).expand(9, 3)
    z, log_slope = mixture(x, parameters)
    torch.testing.assert_close(z, (x - 2.0) * torch.tensor(-0.3, dtype=torch.float64).exp(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(log_slope, torch.full_like(x, -0.3), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(mixture.inverse(z, parameters)[0], x, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("spread", [0.5, 2.0, 30.0])
def test_the_inverse(spread):
    """z is found again to rounding, at any distance of the components and in the tails."""
    mixture, parameters, _ = mixture_of(spread=spread)
    z = 4 * torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x, log_slope = mixture.inverse(z, parameters)
    again, other = mixture(x, parameters)
    # x has a relative error of rounding, and z an error larger by its slope
    rounding = 1e-14 * (1 + x.abs()) * other.exp() + 1e-10
    assert ((again - z).abs() <= rounding).all()
    torch.testing.assert_close(log_slope, -other)


def test_values_and_gradients_are_finite_in_float32():
    mixture, parameters, _ = mixture_of(components=10)
    parameters = parameters.float().requires_grad_()
    for scale in (1.0, 100.0, 1e4):
        x = (scale * torch.randn(200, generator=torch.Generator().manual_seed(1))).requires_grad_()
        z, log_slope = mixture(x, parameters)
        gradients = torch.autograd.grad((normal_log_prob(z) + log_slope).sum(), (x, parameters))
        assert all(values.isfinite().all() for values in (z, log_slope, *gradients))


def test_derivatives_of_both_orders():
    mixture, parameters, _ = mixture_of(n=5)
    x = torch.tensor([-30.0, -2.0, 0.0, 2.0, 30.0], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(mixture, (x, parameters.requires_grad_()))
    assert torch.autograd.gradgradcheck(mixture, (x, parameters))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_whose_squares_overflow_have_a_density_of_zero(dtype):
    mixture, parameters, _ = mixture_of(n=6)
    parameters = parameters.to(dtype).requires_grad_()
    largest = torch.finfo(dtype).max
    x = torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0], dtype=dtype)
    x = (x * torch.tensor([largest] * 2 + [largest**0.5] * 2 + [10 * largest**0.5] * 2, dtype=dtype)).requires_grad_()
    z, log_slope = mixture(x, parameters)
    log_prob = normal_log_prob(z) + log_slope
    assert (log_prob < -1e30).all()
    assert torch.equal(z.sign(), x.sign())
    gradients = torch.autograd.grad(log_prob.sum(), (x, parameters))
    assert not any(values.isnan().any() for values in (z, log_slope, *gradients))


@pytest.mark.parametrize("components", [1, 2])
def test_derivatives_at_the_median(components):
    """Both tails have the same probability there."""
    mixture = GaussianMixture(components)
    parameters = torch.zeros(1, 3 * components, dtype=torch.float64)
    parameters[0, components] = 0.5  # with two components, the means are 0.5 and −0.5
    parameters[0, 2 * components - 1] = 0.5 if components == 1 else -0.5
    x = parameters[:, components : 2 * components].mean(1)
    z, log_slope = mixture(x.requires_grad_(), parameters)
    (slope,) = torch.autograd.grad(z.sum(), x)
    assert z.abs() < 1e-12
    torch.testing.assert_close(slope, log_slope.exp())
    assert torch.autograd.gradcheck(mixture, (x, parameters.requires_grad_()))
    assert torch.autograd.gradgradcheck(mixture, (x, parameters))


@pytest.mark.unchecked
def test_wrong_arguments_are_an_error():
    with pytest.raises(ValueError, match="components=0"):
        GaussianMixture(0)
    with pytest.raises(ValueError, match="bound=0"):
        GaussianMixture(2, bound=0)
