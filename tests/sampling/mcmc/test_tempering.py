"""Parallel tempering: exact transitions and swap rates by enumeration, and modes that one chain does not reach."""

import math
from itertools import pairwise

import pytest
import torch

from danlu.rng import generator
from danlu.sampling import MALA, Gibbs, MetropolisHastings, NormalWalk, ParallelTempering, SiteFlip, run_chains
from mcmc_laws import Enumerated, assert_distributed, assert_frequencies, double_well, sweep_matrix


def tempered_gibbs(distribution, temperatures, **settings):
    """Gibbs sampling at each temperature, with conditionals."""

    def kernel_at(beta):
        return Gibbs(
            lambda x: beta * distribution.log_density(x), conditional=lambda x, site: beta * distribution.field(x, site)
        )

    return ParallelTempering(distribution.log_density, kernel_at, temperatures, **settings)


def powers(distribution, temperatures):
    """The exact distribution at each temperature."""
    log_density = distribution.log_density(distribution.states)
    return [(log_density / temperature).softmax(0) for temperature in temperatures]


def swap_matrix(distribution, temperatures):
    """The exact transition matrix of a swap of two temperatures, on pairs of states."""
    log_p = distribution.log_density(distribution.states)
    count = len(log_p)
    difference = (1 / temperatures[0] - 1 / temperatures[1]) * (log_p[None, :] - log_p[:, None])
    rate = difference.exp().clamp(max=1).flatten()
    pairs = torch.arange(count**2)
    matrix = torch.diag(1 - rate)
    matrix[pairs, pairs % count * count + pairs // count] += rate
    return matrix


def test_transitions_of_both_temperatures_are_as_frequent_as_in_the_exact_matrix():
    temperatures, distribution = (1, 3), Enumerated(3, scale=1.0)
    kernel = tempered_gibbs(distribution, temperatures)
    count = len(distribution.states)
    sweeps = [sweep_matrix(distribution, kernel.kernel_at(1 / temperature)) for temperature in temperatures]
    matrix = torch.kron(*sweeps) @ swap_matrix(distribution, temperatures)
    joint = torch.kron(*powers(distribution, temperatures))
    torch.testing.assert_close(joint @ matrix, joint, atol=1e-10, rtol=0)
    for start in (0, 29):
        pair = torch.stack([distribution.states[start // count], distribution.states[start % count]])
        state = kernel.step(kernel.start(pair.repeat(100_000, 1, 1)), generator(start))
        index = distribution.index(state.x)
        assert_frequencies(index[:, 0] * count + index[:, 1], matrix[start])


def test_swap_rates_are_the_exact_ones():
    temperatures, distribution = (1, 1.5, 3, 8), Enumerated(6, scale=0.7)
    kernel = tempered_gibbs(distribution, temperatures, kernel_steps=2)
    chains = 50_000
    exact = powers(distribution, temperatures)
    draws = [torch.multinomial(p, chains, replacement=True, generator=generator(i)) for i, p in enumerate(exact)]
    state = kernel.step(kernel.start(distribution.states[torch.stack(draws, 1)]), generator(0))
    log_p = distribution.log_density(distribution.states)
    for pair, (low, high) in enumerate(pairwise(exact)):
        beta = 1 / temperatures[pair] - 1 / temperatures[pair + 1]
        rate = float(low @ (beta * (log_p[None, :] - log_p[:, None])).exp().clamp(max=1) @ high)
        assert 0.2 < rate < 0.95
        assert abs(float(state.swaps[:, pair].mean()) - rate) < 4 * math.sqrt(rate * (1 - rate) / chains)
    for number, p in enumerate(exact):
        assert_distributed(distribution.index(state.x[:, number]), p)
    assert kernel.kept(state.x).equal(state.x[:, 0])


@pytest.mark.parametrize("inner", ["walk", "MALA"])
def test_tempering_reaches_both_modes_of_a_double_well_where_one_chain_does_not(inner):
    well = double_well(16.0, tilt=0.4)
    left = float(well.cumulative[len(well.x) // 2])  # probability of x < 0
    assert 0.25 < left < 0.4

    def kernel_at(beta):
        density = lambda x: beta * well.log_density(x)  # noqa: E731
        return MetropolisHastings(density, NormalWalk(0.3)) if inner == "walk" else MALA(density, 0.15 / beta**0.5)

    start = torch.ones(500, dtype=torch.double)
    alone = run_chains(kernel_at(1.0), start, draws=1, burn_in=300)
    assert float((alone.values < 0).double().mean()) < 0.02
    tempering = ParallelTempering(well.log_density, kernel_at, (1, 2, 5, 12, 30))
    result = run_chains(tempering, tempering.replicas(start), draws=1, burn_in=300)
    assert result.values.shape == (500, 1)
    assert abs(float((result.values < 0).double().mean()) - left) < 4 * math.sqrt(left * (1 - left) / 500)
    assert result.swaps.shape == (4,)
    assert float(result.swaps.min()) > 0.2


def test_tempering_of_a_ferromagnet_reaches_both_signs():
    distribution = Enumerated(8)
    distribution.weight = 1.2 * (1 - torch.eye(8, dtype=torch.double))
    distribution.bias[:] = 0.03
    distribution.p = distribution.log_density(distribution.states).softmax(0)
    down = float(distribution.p[distribution.states.sum(1) < 0].sum())
    assert 0.3 < down < 0.45
    start = torch.ones(500, 8, dtype=torch.double)
    alone = Gibbs(distribution.log_density, conditional=distribution.field)
    stuck = run_chains(alone, start, draws=1, burn_in=60).values
    assert float((stuck.sum(2) < 0).double().mean()) < 0.02
    tempering = tempered_gibbs(distribution, (1, 2, 4, 8, 16))
    x = run_chains(tempering, tempering.replicas(start), draws=1, burn_in=60).values
    assert abs(float((x.sum(2) < 0).double().mean()) - down) < 4 * math.sqrt(down * (1 - down) / 500)


def test_acceptance_is_that_of_temperature_1_over_the_steps_of_the_kernel():
    density = lambda x: torch.where(x.sum(1) == -2, 0.0, -100.0)  # noqa: E731
    flips = lambda beta: MetropolisHastings(lambda x: beta * density(x), SiteFlip())  # noqa: E731
    kernel = ParallelTempering(density, flips, (1, 1e9), kernel_steps=3)
    state = kernel.step(kernel.start(kernel.replicas(-torch.ones(200, 2))), generator(0))
    assert state.acceptance.eq(0).all()  # at the high temperature all candidates are accepted
    assert state.swaps.shape == (200, 1)


def test_states_of_the_start_are_not_changed():
    distribution = Enumerated(3)
    kernel = tempered_gibbs(distribution, (1, 2))
    start = kernel.replicas(torch.ones(10, 3, dtype=torch.double))
    state = kernel.start(start)
    kernel.step(state, generator(0))
    assert start.eq(1).all()


@pytest.mark.unchecked
def test_errors():
    zero = lambda x: torch.zeros(len(x))  # noqa: E731
    walk = lambda beta: MetropolisHastings(zero, NormalWalk(0.1))  # noqa: E731
    for temperatures in [(1,), (2, 3), (1, 1), (1, 4, 2), (1, math.inf), (1, math.nan), ()]:
        with pytest.raises(ValueError, match="must ascend from 1 and be finite, at least 2, for example"):
            ParallelTempering(zero, walk, temperatures)
    with pytest.raises(ValueError, match="kernel_steps=0 must be at least 1"):
        ParallelTempering(zero, walk, (1, 2), kernel_steps=0)
    kernel = ParallelTempering(zero, walk, (1, 2))
    for shape in [(3,), (3, 3)]:
        with pytest.raises(ValueError, match=r"must be \(chains, 2, ...\).* Start from kernel.replicas\(x\)"):
            kernel.start(torch.zeros(shape))
    infinite = ParallelTempering(lambda x: x.log(), walk, (1, 2))
    with pytest.raises(ValueError, match="the log-density of chain 0 is -inf at the start"):
        infinite.start(torch.zeros(3, 2))
