"""Annealed importance sampling: log Z of machines that can be enumerated, error bars, and estimates without one."""

import math

import pytest
import torch

from danlu.errors import RunError
from danlu.sampling import (
    MALA,
    BlockGibbs,
    Distribution,
    Gibbs,
    MetropolisHastings,
    NormalWalk,
    annealed_importance_sampling,
    geometric_path,
    log_mean_exp,
    weights_sample_size,
)
from mcmc_laws import Enumerated, assert_distributed

SITES = 8
UNIFORM = Distribution(
    lambda x: torch.full((len(x),), -SITES * math.log(2), dtype=torch.double),
    lambda n, g: 2.0 * torch.randint(2, (n, SITES), generator=g).double() - 1,
)


def annealed(machine, steps, chains, seed=0, base=UNIFORM, conditional=True):
    path = geometric_path(base.log_density, machine.log_density)

    def kernel_at(beta):
        field = (lambda x, site: beta * machine.field(x, site)) if conditional else None
        return Gibbs(lambda x: path(x, beta), conditional=field)

    return annealed_importance_sampling(base, path, kernel_at, torch.linspace(0, 1, steps + 1), chains, seed)


def machine(scale):
    """Couplings and biases from N(0, scale²)."""
    return Enumerated(SITES, scale=scale, seed=5)


STEPS = {0.1: 10, 0.5: 50, 1.0: 100, 2.0: 300}


@pytest.mark.parametrize("scale", STEPS)
def test_groups_of_chains_are_within_three_standard_errors(scale):
    """The chains are independent, so 40 groups of them are 40 estimates."""
    exact = machine(scale).log_z
    result = annealed(machine(scale), STEPS[scale], chains=40 * 100)
    groups = [log_mean_exp(weights) for weights in result.log_weights.view(40, 100)]
    assert all(weights_sample_size(weights) > 10 for weights in result.log_weights.view(40, 100))
    assert sum(abs(value - exact) < 3 * error for value, error in groups) >= 38
    assert sum(abs(value - exact) < error for value, error in groups) <= 36  # 68% of 40: errors are not too large
    assert abs(result.log_z - exact) < 3 * result.standard_error
    assert not result.unreliable


@pytest.mark.long
@pytest.mark.parametrize("scale", STEPS)
def test_seeds_are_within_three_standard_errors(scale):
    exact = machine(scale).log_z
    results = [annealed(machine(scale), STEPS[scale], chains=100, seed=seed) for seed in range(40)]
    assert not any(result.unreliable for result in results)
    assert sum(abs(result.log_z - exact) < 3 * result.standard_error for result in results) >= 38


def test_a_restricted_machine_with_blocks_and_base_rates():
    """Hidden and visible units 0 and 1; the base has the right marginals of the visible units at zero couplings."""
    draw = torch.Generator().manual_seed(2)
    weight, visible, hidden = (torch.randn(shape, generator=draw, dtype=torch.double) for shape in ((6, 4), 6, 4))
    everything = Enumerated(10, (0, 1)).states
    exact = float(
        (
            ((everything[:, :6] @ weight) * everything[:, 6:]).sum(1) + everything @ torch.cat([visible, hidden])
        ).logsumexp(0)
    )
    rates = torch.linspace(-1, 1, 6, dtype=torch.double)  # log-odds

    def free(v, beta):
        """The hidden units summed out; Salakhutdinov and Murray, 2008, with base rates."""
        couplings = torch.nn.functional.softplus(beta * (v @ weight + hidden)).sum(1)
        return (1 - beta) * (v @ rates) + beta * (v @ visible) + couplings

    def kernel_at(beta):
        def sweep(v, g):
            h = torch.bernoulli((beta * (v @ weight + hidden)).sigmoid(), generator=g)
            return torch.bernoulli(((1 - beta) * rates + beta * (visible + h @ weight.T)).sigmoid(), generator=g)

        return BlockGibbs([sweep])

    log_z_base = float(torch.nn.functional.softplus(rates).sum()) + 4 * math.log(2)
    path = lambda v, beta: free(v, beta) - (1 - beta) * log_z_base  # noqa: E731
    base = Distribution(lambda v: path(v, 0.0), lambda n, g: torch.bernoulli(rates.sigmoid().expand(n, 6), generator=g))
    result = annealed_importance_sampling(base, path, kernel_at, torch.linspace(0, 1, 101), 2000)
    assert abs(result.log_z - exact) < 3 * result.standard_error < 0.1


def test_a_continuous_density():
    """N(0, 1) to a normal density with another mean and variance, times a constant."""
    dimensions, deviation, constant = 3, 0.4, 5.0
    base = Distribution(
        lambda x: torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1),
        lambda n, g: torch.randn(n, dimensions, generator=g, dtype=torch.double),
    )
    target = lambda x: constant - (x - 1).square().sum(1) / (2 * deviation**2)  # noqa: E731
    exact = constant + dimensions * math.log(deviation * math.sqrt(2 * math.pi))
    path = geometric_path(base.log_density, target)
    result = annealed_importance_sampling(
        base, path, lambda beta: MALA(lambda x: path(x, beta), 0.4), torch.linspace(0, 1, 101), 1000
    )
    assert abs(result.log_z - exact) < 3 * result.standard_error < 0.2
    mean = result.log_weights.softmax(0) @ result.x
    assert float((mean - 1).abs().max()) < 4 * deviation / math.sqrt(result.effective_sample_size)


def test_a_weight_of_0_stays_0():
    """The base is uniform on [-1, 1], the target on [0, 1] with the height 3: half of the weights are 0."""
    base = Distribution(
        lambda x: torch.where(x.abs() < 1, -math.log(2), -torch.inf),
        lambda n, g: 2 * torch.rand(n, generator=g, dtype=torch.double) - 1,
    )
    path = geometric_path(base.log_density, lambda x: torch.where((x > 0) & (x < 1), math.log(3), -torch.inf))
    kernel_at = lambda beta: MetropolisHastings(lambda x: path(x, beta), NormalWalk(0.5))  # noqa: E731
    result = annealed_importance_sampling(base, path, kernel_at, [0.0, 0.3, 0.7, 1.0], 2000)
    assert abs(float(result.log_weights.isneginf().double().mean()) - 0.5) < 0.05
    assert abs(result.log_z - math.log(3)) < 3 * result.standard_error
    assert abs(result.effective_sample_size - 1000) < 100


def test_one_step_is_importance_sampling_and_its_weights_are_the_ratios():
    distribution = machine(0.5)
    result = annealed(distribution, steps=1, chains=500)
    torch.testing.assert_close(
        result.log_weights, distribution.log_density(result.x) + SITES * math.log(2), rtol=0, atol=1e-12
    )
    assert (result.log_z, result.effective_sample_size) == (
        log_mean_exp(result.log_weights).value,
        weights_sample_size(result.log_weights),
    )


def test_weights_of_the_states_at_the_end():
    """The chains with their weights are a sample of the target."""
    distribution = machine(1.0)
    result = annealed(distribution, steps=100, chains=8000)
    kept = torch.multinomial(
        result.log_weights.exp(), 2000, generator=torch.Generator().manual_seed(0), replacement=True
    )
    assert_distributed(distribution.index(result.x[kept]), distribution.p, 1000)


def test_an_estimate_of_few_chains_is_unreliable_and_has_no_error():
    result = annealed(machine(2.0), steps=1, chains=500)
    assert result.effective_sample_size < 50
    assert result.unreliable
    assert result.standard_error is None
    assert str(result).startswith(f"log Z = {result.log_z:.6g}, unreliable (effective sample size ")
    good = annealed(machine(0.1), steps=5, chains=500)
    assert not good.unreliable
    assert " ± 0.0" in str(good)


def test_log_density_and_conditional_give_the_same_estimate_and_seeds_different_ones():
    results = [annealed(machine(0.5), 5, 50, seed, conditional=c) for seed, c in [(0, True), (0, False), (1, True)]]
    assert results[0].x.equal(results[1].x)
    torch.testing.assert_close(results[0].log_weights, results[1].log_weights)
    assert not results[0].log_weights.equal(results[2].log_weights)
    again = annealed(machine(0.5), 5, 50, torch.Generator().manual_seed(3))
    assert again.log_weights.equal(annealed(machine(0.5), 5, 50, torch.Generator().manual_seed(3)).log_weights)


def test_the_ends_of_a_geometric_path_do_not_multiply_0_by_infinity():
    path = geometric_path(lambda x: 0 * x, lambda x: x.log())
    assert path(torch.zeros(1), 0.0).tolist() == [0.0]
    assert path(torch.zeros(1), 0.5).tolist() == [-math.inf]
    assert geometric_path(lambda x: x.log(), lambda x: 0 * x)(torch.zeros(1), 1.0).tolist() == [0.0]


@pytest.mark.unchecked
def test_errors():
    flat = lambda x, beta: torch.zeros(len(x))  # noqa: E731
    same = lambda beta: BlockGibbs([lambda x, g: x])  # noqa: E731
    for betas in ([0.0], [0.0, 0.5], [0.1, 1.0], [0.0, 0.5, 0.5, 1.0], [1.0, 0.0], [0.0, math.nan, 1.0]):
        with pytest.raises(ValueError, match="betas must ascend from 0 to 1, got"):
            annealed_importance_sampling(UNIFORM, flat, same, betas, 10)
    with pytest.raises(ValueError, match="chains=1 must be at least 2"):
        annealed_importance_sampling(UNIFORM, flat, same, [0.0, 1.0], 1)
    with pytest.raises(ValueError, match=r"the log-density of the path has shape \(10, 8\), must be \(10,\)"):
        annealed_importance_sampling(UNIFORM, lambda x, beta: x, same, [0.0, 1.0], 10)
    for value in (torch.nan, torch.inf, -torch.inf):
        path = lambda x, beta, value=value: torch.full((len(x),), value if beta else 0.0)  # noqa: E731
        with pytest.raises(RunError, match="a weight of annealed importance sampling is not finite, or all are 0"):
            annealed_importance_sampling(UNIFORM, path, same, [0.0, 1.0], 10)


@pytest.mark.parametrize(("chains", "reliable"), [(2, False), (10, False), (40, False), (60, True)])
def test_few_chains_need_at_least_five_effective_ones(chains, reliable):
    """A tenth of 10 chains is a single one, of which every estimate has as many."""
    values = torch.full((chains,), -40.0, dtype=torch.float64)
    values[: 3 + 3 * reliable] = 0.0  # the weights of 3 or 6 chains are equal, those of the others are 0

    def path(x, beta):
        return beta * values

    base = Distribution(lambda x: 0 * x, lambda n, g: torch.zeros(n, dtype=torch.float64))
    kernel = MetropolisHastings(lambda x: 0 * x, NormalWalk(1.0))
    if chains < 3:
        values[1:] = -40.0
    found = annealed_importance_sampling(base, path, lambda beta: kernel, [0, 1], chains)
    assert found.unreliable is not reliable
