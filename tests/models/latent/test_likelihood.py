"""What a decoder says of an example: draws have the moments of the probabilities, and wrong arguments are refused."""

import math

import pytest
import torch

from danlu.models import LEAST_LOG_SPREAD, LEVELS, Likelihood

EVERY = [
    ("bernoulli", "shared"),
    *[(family, spread) for family in ("gaussian", "logistic") for spread in (0.3, "shared", "each")],
]
every = pytest.mark.parametrize(("family", "spread"), EVERY)
DRAWS = 40_000


def output(likelihood, seed=0):
    """Of a decoder for one code, with a value at the border and one in the middle."""
    drawn = torch.randn(1, likelihood.outputs, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    centers = torch.tensor([-0.1, 0.3, 0.7, 1.05], dtype=torch.float64)
    return torch.cat([centers[None, None], drawn[:, 1:] - 1.5], dim=1)


def moments(likelihood, output):
    """Mean and variance of each value, by enumeration of the values that it can have or in closed form."""
    if likelihood.family == "gaussian":
        x = output[:, 0]
        # at its mean a normal density is 1 / (σ √(2π))
        each = torch.stack([_one(likelihood, x[:, place], output[:, :, place]) for place in range(4)], dim=1)
        return x, (-2 * each).exp() / (2 * torch.pi)
    levels = 2 if likelihood.family == "bernoulli" else LEVELS
    values = torch.linspace(0, 1, levels, dtype=torch.float64)
    chances = torch.stack(
        [torch.stack([_one(likelihood, v.expand(1), output[:, :, place]) for v in values]) for place in range(4)], -1
    ).exp()[:, 0]
    assert chances.sum(0).sub(1).abs().max() < 1e-9
    mean = (chances * values[:, None]).sum(0, keepdim=True)
    return mean, (chances * (values[:, None] - mean).square()).sum(0, keepdim=True)


def _one(likelihood, x, output):
    """Log-probability of a single value."""
    return likelihood.log_prob(x[:, None], output[None, ..., None])[0]


@every
def test_draws_have_the_mean_and_the_variance_of_the_probabilities(family, spread):
    """Within five standard errors of the mean and of the variance, the latter from the draws' fourth moment."""
    likelihood = Likelihood(family, spread).double()
    out = output(likelihood)
    with torch.no_grad():
        mean, variance = moments(likelihood, out)
        source = torch.Generator().manual_seed(1)
        drawn = likelihood.draw(out.expand(DRAWS, -1, -1), source)
    assert drawn.shape == (DRAWS, 4)
    centered = drawn - mean
    assert (centered.mean(0).abs() < 5 * (variance[0] / DRAWS).sqrt()).all()
    fourth = centered.square()
    assert ((fourth.mean(0) - variance[0]).abs() < 5 * fourth.std(0) / DRAWS**0.5).all()


@every
def test_several_codes_are_laid_out_as_the_docstring_says(family, spread):
    likelihood = Likelihood(family, spread).double()
    outputs = torch.randn(3, 2, likelihood.outputs, 5, generator=torch.Generator().manual_seed(0)).double()
    x = (torch.rand(2, 5, generator=torch.Generator().manual_seed(1)) * 255).round().double() / 255
    together = likelihood.log_prob(x, outputs)
    assert together.shape == (3, 2)
    for code in range(3):
        for example in range(2):
            row = outputs[code, example][None, None]
            torch.testing.assert_close(together[code, example], likelihood.log_prob(x[example][None], row)[0, 0])


@pytest.mark.parametrize("family", ["gaussian", "logistic"])
def test_a_number_for_spread_stays_and_has_no_parameter(family):
    likelihood = Likelihood(family, 0.25)
    assert not list(likelihood.parameters())
    assert likelihood._log_spread(torch.zeros(1, 1, 1, 2)).exp().unique().tolist() == [0.25]


@pytest.mark.parametrize("family", ["gaussian", "logistic"])
@pytest.mark.parametrize("spread", ["shared", "each"])
def test_a_learned_spread_has_a_least_value(family, spread):
    likelihood = Likelihood(family, spread)
    outputs = torch.full((1, 1, likelihood.outputs, 3), -1e4)
    if likelihood.log_spread is not None:
        likelihood.log_spread.data.fill_(-1e4)
    x = torch.zeros(1, 3)
    assert likelihood._log_spread(outputs).unique().tolist() == [LEAST_LOG_SPREAD]
    assert likelihood.log_prob(x, torch.zeros_like(outputs)).isfinite().all()


@pytest.mark.parametrize("raw", [-4.0, -6.0, -9.0, -16.0, -26.0])
@pytest.mark.parametrize("error", [0.0, 0.25])
def test_the_gradient_below_the_least_spread_is_exact_and_not_zero(raw, error):
    """In closed form: (error² / σ² − 1) · sigmoid(raw − least), with log σ = least + softplus(raw − least)."""
    above = math.log1p(math.exp(raw - LEAST_LOG_SPREAD))
    variance = math.exp(2 * (LEAST_LOG_SPREAD + above))
    exact = (error**2 / variance - 1) / (1 + math.exp(LEAST_LOG_SPREAD - raw))
    output = torch.tensor([0.5, raw]).view(1, 1, 2, 1).requires_grad_()
    Likelihood("gaussian", "each").log_prob(torch.tensor([[0.5 + error]]), output).sum().backward()
    assert output.grad is not None
    assert output.grad[0, 0, 1, 0].item() == pytest.approx(exact, rel=1e-4)


def test_the_mean_of_bernoulli_is_its_probability_and_the_others_their_center():
    out = torch.tensor([[[-3.0, 0.2, 2.0]]])
    assert torch.equal(Likelihood("bernoulli").mean(out), out[:, 0].sigmoid())
    assert torch.equal(Likelihood("gaussian").mean(out), out[:, 0])
    torch.testing.assert_close(Likelihood("logistic").mean(out), torch.tensor([[0.0, 0.2, 1.0]]))


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("poisson",), "likelihood='poisson' is unknown; choose one of bernoulli"),
        (("gaussian", 0.0), "spread=0.0 must be a number greater than 0"),
        (("gaussian", -1.0), "spread=-1.0"),
        (("gaussian", float("inf")), "spread=inf"),
        (("logistic", "all"), "spread='all'"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Likelihood(*arguments)


@pytest.mark.unchecked
@pytest.mark.parametrize("levels", [1, 0, -3])
def test_fewer_than_two_levels_are_refused(levels):
    with pytest.raises(ValueError, match=f"levels={levels} must be at least 2"):
        Likelihood("logistic", levels=levels)
