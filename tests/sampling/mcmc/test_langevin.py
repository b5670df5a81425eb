"""Langevin sampling against closed forms and quadrature: exact with rejection, an error that shrinks without."""

import math

import pytest
import torch
from torch import nn

from danlu.rng import generator
from danlu.sampling import MALA, Candidate, Langevin, MetropolisHastings, run_chains
from mcmc_laws import Line, assert_distributed, double_well, tolerance, total_variation

WELL = double_well(2.0, tilt=0.5)


def normal(x):
    return -x.square().flatten(1).sum(1) / 2


def zeros(*shape):
    return torch.zeros(shape, dtype=torch.double)


@pytest.mark.parametrize("step_size", [0.3, 0.8])
def test_mala_leaves_a_double_well_invariant(step_size):
    kernel = MALA(WELL.log_density, step_size)
    result = run_chains(kernel, WELL.draw(100_000), draws=1, burn_in=4)
    edges = WELL.bins()
    assert_distributed(torch.bucketize(result.values, edges), WELL.bin_probabilities(edges))
    assert 0.2 < float(result.acceptance.mean()) < 0.99


def test_mala_converges_to_the_distribution_of_quadrature():
    kernel = MALA(WELL.log_density, step_size=0.6)
    start = torch.tensor([-1.0, 1.0], dtype=torch.double).repeat(500)
    result = run_chains(kernel, start, draws=200, burn_in=200)
    effective = min(float(result.effective_sample_size("mean")), result.values.numel())
    assert effective > 2e3
    edges = WELL.bins()
    assert_distributed(torch.bucketize(result.values, edges), WELL.bin_probabilities(edges), effective)


def test_mala_accepts_as_metropolis_hastings_with_its_proposal_density():
    epsilon = torch.tensor([0.4, 0.9, 1.5], dtype=torch.double)
    density = lambda x: WELL.log_density(x).sum(1)  # noqa: E731
    kernel = MALA(density, epsilon)
    x = torch.randn(3, 2, generator=generator(1), dtype=torch.double)
    state = kernel.start(x)

    def proposal_density(new, old):
        """log N(new; old + ε² ∇ log p(old) / 2, ε²), with the derivative by hand."""
        gradient = -8 * old * (old.square() - 1) + 0.5
        mean = old + epsilon[:, None] ** 2 / 2 * gradient
        return torch.distributions.Normal(mean, epsilon[:, None]).log_prob(new).sum(1)

    step = kernel.step(state, generator(2))
    source = generator(2)  # the same numbers: noise, then uniform
    xi = torch.empty_like(x).normal_(generator=source)
    uniform = torch.empty(3, dtype=torch.double).uniform_(generator=source)
    new = x + epsilon[:, None] ** 2 / 2 * (-8 * x * (x.square() - 1) + 0.5) + epsilon[:, None] * xi
    candidate = Candidate(new, proposal_density(new, x), proposal_density(x, new))
    log_acceptance = MetropolisHastings(density, lambda x, g: candidate).log_acceptance(
        state._replace(cache=state.cache[:1]), candidate
    )
    accepted = uniform.log() < log_acceptance
    torch.testing.assert_close(step.x, torch.where(accepted[:, None], new, x))
    assert step.acceptance.equal(accepted.double())


def test_the_variance_of_langevin_is_that_of_its_recursion_and_tends_to_the_exact_one():
    """For N(0, 1), x' = (1 − ε²/2) x + ε ξ has the stationary variance 1 / (1 − ε²/4)."""
    errors = []
    for epsilon in (1.2, 0.8, 0.4):
        exact = 1 / (1 - epsilon**2 / 4)
        chains = 200_000
        start = math.sqrt(exact) * torch.randn(chains, 1, generator=generator(0), dtype=torch.double)
        x = run_chains(Langevin(normal, epsilon), start, draws=1, burn_in=7).values
        assert abs(float(x.var()) - exact) < 4 * exact * math.sqrt(2 / chains)
        errors.append(abs(float(x.var()) - 1))
    assert errors == sorted(errors, reverse=True)


def test_the_error_of_langevin_shrinks_with_the_step():
    """Two normal modes, in whose tails the gradient is linear, so that no chain diverges."""
    modes = Line(lambda x: torch.logaddexp(-2 * (x - 1).square(), -2 * (x + 1).square() + 0.5), -6, 6)
    edges = modes.bins()
    p = modes.bin_probabilities(edges)
    distances = []
    for epsilon in (0.5, 0.25):
        steps = round(4 / epsilon**2)  # the same time
        x = run_chains(Langevin(modes.log_density, epsilon), modes.draw(200_000), draws=1, burn_in=steps).values
        distances.append(total_variation(torch.bucketize(x, edges), p))
    assert distances[0] > 3 * tolerance(p, 200_000), distances
    assert distances[1] < distances[0] / 2, distances


def test_noise_sets_the_temperature():
    epsilon, noise, chains = 0.5, 0.2, 200_000
    exact = noise**2 / (1 - (1 - epsilon**2 / 2) ** 2)
    start = math.sqrt(exact) * torch.randn(chains, 1, generator=generator(0), dtype=torch.double)
    x = run_chains(Langevin(normal, epsilon, noise), start, draws=1, burn_in=5).values
    assert abs(float(x.var()) - exact) < 4 * exact * math.sqrt(2 / chains)
    x = run_chains(Langevin(normal, epsilon, noise=0.0), torch.ones(1, 3), draws=1).values
    torch.testing.assert_close(x, torch.full((1, 1, 3), 1 - epsilon**2 / 2))


@pytest.mark.parametrize("kernel", [Langevin, MALA])
def test_gradients_are_those_of_x_alone(kernel):
    torch.manual_seed(0)
    energy = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x = torch.randn(4, 2, 3, dtype=torch.double, requires_grad=True)
    made = kernel(lambda x: -energy(x).squeeze(1), 0.3)
    state = made.step(made.start(x), generator(0))
    assert x.grad is None
    assert all(parameter.grad is None for parameter in energy.parameters())
    assert not any(tensor.requires_grad for tensor in (state.x, *state.cache, state.acceptance))
    assert state.x.shape == x.shape


@pytest.mark.parametrize("kernel", [Langevin, MALA])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept_and_each_chain_has_its_step_size(kernel, dtype):
    step_size = torch.tensor([1e-6, 0.5], dtype=dtype)
    made = kernel(normal, step_size)
    state = made.start(torch.ones(2, 3, dtype=dtype))
    moved = made.step(state, generator(0)).x
    assert moved.dtype == dtype
    assert float((moved[0] - 1).abs().max()) < 1e-5
    assert float((moved[1] - 1).abs().max()) > 0.01


@pytest.mark.unchecked
@pytest.mark.parametrize("kernel", [Langevin, MALA])
def test_errors(kernel):
    for step_size in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"step_size={step_size} must be a finite number greater than 0"):
            kernel(normal, step_size)
    with pytest.raises(ValueError, match=r"step_size has shape \(2,\); it must be a number or have shape \(3,\)"):
        kernel(normal, torch.ones(2)).start(zeros(3, 1))
    with pytest.raises(ValueError, match=r"step_size=0.0 must be"):
        kernel(normal, torch.tensor([1.0, 0.0])).start(zeros(2, 1))
    with pytest.raises(ValueError, match=r"dtype torch.int64; gradients need floating-point"):
        kernel(normal, 0.1).start(torch.zeros(3, 1, dtype=torch.long))
    with pytest.raises(ValueError, match="the log-density has no gradient with respect to x"):
        kernel(lambda x: torch.zeros(len(x)), 0.1).start(zeros(3, 1))
    root = lambda x: -x.abs().sqrt().sum(1)  # noqa: E731
    with pytest.raises(ValueError, match="the gradient of the log-density of chain 1 is not finite at the start"):
        kernel(root, 0.1).start(torch.tensor([[1.0], [0.0]]))
    with pytest.raises(ValueError, match="the log-density of chain 2 is nan at the start"):
        kernel(normal, 0.1).start(torch.tensor([[1.0], [0.0], [torch.nan]]))


def test_a_chain_that_diverges_is_named():
    from danlu.errors import RunError

    quartic = lambda x: -x.square().square().sum(1)  # noqa: E731
    start = torch.tensor([[0.1], [30.0]])
    with pytest.raises(RunError, match="chain 1 is not finite after 50 steps; use a smaller step size, or MALA"):
        run_chains(Langevin(quartic, 0.3), start, draws=50)
    with pytest.raises(ValueError, match=r"noise=-1.0 must be None or a finite number that is at least 0"):
        Langevin(quartic, 0.3, noise=-1.0)
