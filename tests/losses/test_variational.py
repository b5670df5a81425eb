"""Parts of the evidence lower bound against closed forms, enumeration, and torch.distributions."""

import math

import pytest
import torch
from torch import distributions

from danlu.losses import (
    bernoulli_log_prob,
    discretized_logistic_log_prob,
    free_bits,
    gaussian_log_prob,
    importance_bound,
    kl_to_standard_normal,
)


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(4, 3, 1), (4, 2, 3, 3)])
def test_bernoulli_is_torchs(shape):
    logits, x = 3 * numbers(*shape), (numbers(*shape, seed=1) > 0).double()
    expected = distributions.Bernoulli(logits=logits).log_prob(x)
    torch.testing.assert_close(bernoulli_log_prob(x, logits), expected.flatten(1).sum(1))
    torch.testing.assert_close(bernoulli_log_prob(x, logits, batch_dims=2), expected.flatten(2).sum(2))


def test_bernoulli_of_all_binary_values_sums_to_one():
    logits = numbers(3)
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    assert bernoulli_log_prob(every, logits.expand(8, 3)).exp().sum().item() == pytest.approx(1.0, abs=1e-14)


def test_bernoulli_of_a_gray_value_is_the_expectation_over_its_draws():
    gray, logits = torch.tensor([[0.2, 0.9]], dtype=torch.float64), numbers(1, 2)
    expected = 0.0
    for a in (0.0, 1.0):
        for b in (0.0, 1.0):
            chance = (gray[0, 0] if a else 1 - gray[0, 0]) * (gray[0, 1] if b else 1 - gray[0, 1])
            expected += chance * bernoulli_log_prob(torch.tensor([[a, b]], dtype=torch.float64), logits)
    torch.testing.assert_close(bernoulli_log_prob(gray, logits), expected)


@pytest.mark.parametrize("spread", ["one number", "each its own"])
def test_gaussian_is_torchs(spread):
    x, mean = numbers(4, 2, 3), numbers(4, 2, 3, seed=1)
    log_variance = 0.7 if spread == "one number" else numbers(4, 2, 3, seed=2)
    deviation = torch.as_tensor(log_variance, dtype=torch.float64).mul(0.5).exp()
    expected = distributions.Normal(mean, deviation).log_prob(x)
    torch.testing.assert_close(gaussian_log_prob(x, mean, log_variance), expected.sum((1, 2)))
    torch.testing.assert_close(gaussian_log_prob(x, mean, log_variance, batch_dims=2), expected.sum(2))


def direct_logistic(x, mean, log_scale, levels):
    """The formula as it is printed, which loses digits far out."""
    scale, half = log_scale.exp(), 0.5 / (levels - 1)
    upper, lower = torch.sigmoid((x + half - mean) / scale), torch.sigmoid((x - half - mean) / scale)
    upper = torch.where(x > 1 - half, torch.ones_like(upper), upper)
    lower = torch.where(x < half, torch.zeros_like(lower), lower)
    return (upper - lower).log()


@pytest.mark.parametrize("log_scale", [-9.0, -6.0, -3.0, 0.0, 5.0])
def test_the_cut_logistic_sums_to_one_over_its_levels(log_scale):
    steps = torch.linspace(0, 1, 256, dtype=torch.float64)[:, None, None]
    means = torch.cat([torch.tensor([-5.0, -0.01, 0.0, 0.5, 1.0, 1.01, 7.0]), torch.rand(9)]).double()
    log_prob = discretized_logistic_log_prob(steps.expand(256, 16, 1), means[None, :, None], log_scale, batch_dims=2)
    torch.testing.assert_close(log_prob.logsumexp(0), torch.zeros(16, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("levels", [256, 4])
def test_the_cut_logistic_equals_the_formula_where_that_has_digits(levels):
    steps = torch.linspace(0, 1, levels, dtype=torch.float64)[:, None]
    mean = 0.5 + 0.4 * numbers(levels, 20, 1)
    log_scale = -2 + 0.5 * numbers(levels, 20, 1, seed=1)
    x = steps[:, None].expand(levels, 20, 1)
    expected = direct_logistic(x, mean, log_scale, levels)[..., 0]
    sound = expected > -12  # the difference of two sigmoids has at least ten digits there
    assert sound.float().mean() > 0.9
    ours = discretized_logistic_log_prob(x, mean, log_scale, levels, batch_dims=2)
    torch.testing.assert_close(ours[sound], expected[sound], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_cut_logistic_has_finite_values_and_gradients_far_out(dtype):
    x = torch.linspace(0, 1, 256, dtype=dtype)[:, None].expand(256, 4)
    mean = torch.tensor([-100.0, 0.0, 1.0, 100.0], dtype=dtype).expand(256, 4).clone().requires_grad_()
    log_scale = torch.full((256, 4), -6.0, dtype=dtype, requires_grad=True)
    log_prob = discretized_logistic_log_prob(x, mean, log_scale)
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert mean.grad.isfinite().all()
    assert log_scale.grad.isfinite().all()
    assert (mean.grad[1:-1, 0] > 0).all(), "a mean far below every value is drawn up"
    assert (mean.grad[1:-1, 3] < 0).all()


def test_the_divergence_is_torchs():
    mean, log_variance = 2 * numbers(5, 3), numbers(5, 3, seed=1)
    posterior = distributions.Normal(mean, (0.5 * log_variance).exp())
    prior = distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    torch.testing.assert_close(
        kl_to_standard_normal(mean, log_variance), distributions.kl_divergence(posterior, prior), rtol=1e-12, atol=1e-12
    )
    assert (kl_to_standard_normal(mean, log_variance) > 0).all()
    assert kl_to_standard_normal(torch.zeros(1), torch.zeros(1)).item() == 0


def test_the_divergence_is_the_mean_of_log_ratios():
    """Within three standard errors for each of twenty distributions."""
    mean, log_variance, draws = numbers(20, 1), numbers(20, 1, seed=1), 20_000
    z = mean + (0.5 * log_variance).exp() * numbers(draws, 20, 1, seed=2)
    ratio = gaussian_log_prob(z, mean, log_variance, batch_dims=2) - gaussian_log_prob(
        z, torch.zeros(()), 0.0, batch_dims=2
    )
    error = ratio.std(0) / draws**0.5
    assert ((ratio.mean(0) - kl_to_standard_normal(mean, log_variance)[:, 0]).abs() < 3 * error).all()


@pytest.mark.parametrize("k", [1, 2, 7])
def test_the_importance_bound_is_the_log_of_the_mean_weight(k):
    log_weights = numbers(k, 4)
    torch.testing.assert_close(importance_bound(log_weights), log_weights.exp().mean(0).log())


def test_the_importance_bound_has_no_overflow_and_its_gradient_is_the_normalized_weights():
    log_weights = torch.tensor([[-2000.0, 900.0], [-2001.0, 899.0]], dtype=torch.float64, requires_grad=True)
    bound = importance_bound(log_weights)
    bound.sum().backward()
    expected = math.log((1 + math.exp(-1)) / 2)
    torch.testing.assert_close(bound.detach(), torch.tensor([-2000.0, 900.0], dtype=torch.float64) + expected)
    torch.testing.assert_close(log_weights.grad, log_weights.detach().softmax(0))


@pytest.mark.parametrize("least", [0.1, 0.5, 2.0])
def test_free_bits_are_the_formula(least):
    kl = numbers(6, 5).square()
    expected = sum(max(least, float(kl[:, unit].mean())) for unit in range(5))
    assert free_bits(kl, least).mean().item() == pytest.approx(expected, abs=1e-12)


def test_free_bits_press_only_the_units_above_them():
    kl = torch.tensor([[0.1, 2.0], [0.3, 4.0]], dtype=torch.float64, requires_grad=True)
    free_bits(kl, 0.5).mean().backward()
    assert kl.grad.tolist() == [[0.0, 0.5], [0.0, 0.5]]
