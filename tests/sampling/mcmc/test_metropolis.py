"""Metropolis–Hastings: exact transition matrices, detailed balance, and asymmetric proposals with their correction."""

import math

import pytest
import torch

from danlu.rng import generator
from danlu.sampling import Candidate, MetropolisHastings, NormalWalk, SiteFlip, run_chains
from mcmc_laws import (
    Enumerated,
    Line,
    assert_distributed,
    assert_frequencies,
    assert_invariant,
    detailed_balance_residual,
    double_well,
    is_distributed,
)

SITES = 6


def site_log_probability(x, site):
    """A site with the value 1 is chosen three times as often as one with −1: log q of the flip of this site."""
    weight = 2 + x
    return (weight.gather(1, site) / weight.sum(1, keepdim=True)).log().squeeze(1)


def flipped(x, site):
    return x.scatter(1, site, -x.gather(1, site))


def candidate(x, site):
    new = flipped(x, site)
    return Candidate(new, site_log_probability(x, site), site_log_probability(new, site))


def uneven_flip(x, g):
    return candidate(x, torch.multinomial(2 + x, 1, generator=g))


def uncorrected(x, g):
    return Candidate(uneven_flip(x, g).x)


def flip_matrix(distribution, kernel, corrected=True):
    """The exact transition matrix with the uneven flips."""
    states = distribution.states
    state, everyone = kernel.start(states), torch.arange(len(states))
    matrix = torch.zeros(len(states), len(states), dtype=torch.double)
    for number in range(SITES):
        proposed = candidate(states, torch.full((len(states), 1), number))
        log_q = proposed.log_forward
        proposed = proposed if corrected else Candidate(proposed.x)
        moves = (log_q + kernel.log_acceptance(state, proposed)).exp()
        matrix[everyone, distribution.index(proposed.x)] += moves
    return matrix + torch.diag(1 - matrix.sum(1))


def test_an_asymmetric_proposal_satisfies_detailed_balance_only_with_its_correction():
    distribution = Enumerated(SITES)
    kernel = MetropolisHastings(distribution.log_density, uneven_flip)
    matrix = flip_matrix(distribution, kernel)
    assert_invariant(distribution.p, matrix)
    assert detailed_balance_residual(distribution.p, matrix) < 1e-12
    wrong = flip_matrix(distribution, kernel, corrected=False)
    assert detailed_balance_residual(distribution.p, wrong) > 1e-3
    assert float((distribution.p @ wrong - distribution.p).abs().sum()) > 0.01


def test_transitions_are_as_frequent_as_in_the_exact_matrix():
    distribution = Enumerated(SITES)
    for proposal, corrected in ((uneven_flip, True), (uncorrected, False)):
        kernel = MetropolisHastings(distribution.log_density, proposal)
        matrix = flip_matrix(distribution, kernel, corrected)
        for start in (0, 21):
            state = kernel.step(kernel.start(distribution.at(start, 100_000)), generator(start))
            after = distribution.index(state.x)
            assert_frequencies(after, matrix[start])
            assert state.acceptance.equal((after != start).double())


def test_exact_draws_keep_their_distribution_only_with_the_correction():
    distribution = Enumerated(SITES)
    for proposal, right in ((uneven_flip, True), (uncorrected, False)):
        kernel = MetropolisHastings(distribution.log_density, proposal)
        x = run_chains(kernel, distribution.draw(50_000), draws=1, burn_in=5).values
        assert is_distributed(distribution.index(x), distribution.p) == right


def test_a_difference_of_log_probabilities_is_enough():
    distribution = Enumerated(SITES)
    kernel = MetropolisHastings(distribution.log_density, uneven_flip)
    state = kernel.start(distribution.states)
    both = candidate(distribution.states, torch.zeros(2**SITES, 1, dtype=torch.long))
    difference = Candidate(both.x, both.log_forward - both.log_backward)
    torch.testing.assert_close(kernel.log_acceptance(state, both), kernel.log_acceptance(state, difference))


@pytest.mark.parametrize("values", [(-1, 1), (0, 1, 2)])
def test_site_flips_of_many_draws(values):
    distribution = Enumerated(5 if len(values) == 2 else 3, values)
    kernel = MetropolisHastings(distribution.log_density, SiteFlip(values))
    result = run_chains(kernel, distribution.at(0, 2000), draws=100, burn_in=100, thin=3)
    effective = float(result.effective_sample_size("mean").min())
    assert effective > 1e4
    assert_distributed(distribution.index(result.values), distribution.p, min(effective, 2e5))


def test_site_flips_propose_each_neighbor_equally_often():
    distribution = Enumerated(3, (0, 1, 2))
    x = SiteFlip((0, 1, 2))(distribution.at(5, 60_000), generator(0)).x
    neighbors = (distribution.states != distribution.states[5]).sum(1) == 1
    assert int(neighbors.sum()) == 6
    assert_frequencies(distribution.index(x), neighbors.double() / 6)


def log_normal_walk(x, g):
    new = x * (0.8 * torch.randn(len(x), generator=g, dtype=x.dtype)).exp()
    return Candidate(new, log_forward=-new.log(), log_backward=-x.log())


def test_continuous_states_with_an_asymmetric_proposal():
    gamma = Line(lambda x: x.clamp_min(1e-300).log() - x, 0, 60)  # Gamma(2): x exp(-x)
    edges = gamma.bins()
    p = gamma.bin_probabilities(edges)
    for proposal, right in (
        (log_normal_walk, True),
        (lambda x, g: Candidate(log_normal_walk(x, g).x), False),
    ):
        kernel = MetropolisHastings(lambda x: x.log() - x, proposal)
        x = run_chains(kernel, gamma.draw(100_000), draws=1, burn_in=4).values
        assert is_distributed(torch.bucketize(x, edges), p) == right


def test_a_random_walk_has_the_distribution_of_quadrature():
    well = double_well(2.0, tilt=0.5)
    edges = well.bins()
    kernel = MetropolisHastings(well.log_density, NormalWalk(1.0))
    exact = well.draw(100_000)
    p = well.bin_probabilities(edges)
    after = run_chains(kernel, exact, draws=1, burn_in=4).values
    assert_distributed(torch.bucketize(after, edges), p)
    start = torch.tensor([-1.0, 1.0], dtype=torch.double).repeat(500)
    result = run_chains(kernel, start, draws=300, burn_in=200)
    effective = min(float(result.effective_sample_size("mean")), result.values.numel())
    assert effective > 2e4
    assert_distributed(torch.bucketize(result.values, edges), p, effective)
    assert 0.3 < float(result.acceptance.mean()) < 0.7


def test_the_scale_of_a_walk_can_differ_between_chains():
    scale = torch.tensor([0.1, 3.0], dtype=torch.double)
    x = torch.zeros(2, 50_000, dtype=torch.double)
    found = NormalWalk(scale)(x, generator(0)).x.std(1)
    torch.testing.assert_close(found, scale, rtol=4 / math.sqrt(2 * 50_000), atol=0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_candidates_whose_log_density_is_not_finite_are_rejected(value):
    density = lambda x: torch.where(x > 0, value, 0.0)  # noqa: E731
    kernel = MetropolisHastings(density, NormalWalk(1.0))
    result = run_chains(kernel, torch.zeros(100), draws=20)
    assert float(result.values.max()) <= 0
    assert float(result.values.min()) < -1
    candidate = Candidate(torch.ones(100))
    assert kernel.log_acceptance(kernel.start(torch.zeros(100)), candidate).eq(-torch.inf).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype):
    kernel = MetropolisHastings(lambda x: -x.square().sum((1, 2)), NormalWalk(0.5))
    state = kernel.step(kernel.start(torch.zeros(4, 2, 3, dtype=dtype)), generator(0))
    assert [tensor.dtype for tensor in (state.x, *state.cache, state.acceptance)] == [dtype] * 3
    assert state.x.shape == (4, 2, 3)


def test_the_densities_of_the_cache_are_those_of_the_states():
    kernel = MetropolisHastings(lambda x: -x.square().sum(1), NormalWalk(2.0))
    state = kernel.start(torch.zeros(50, 2, dtype=torch.double))
    for step in range(5):
        state = kernel.step(state, generator(step))
        assert 0 < float(state.acceptance.mean()) < 1
        assert state.cache[0].equal(-state.x.square().sum(1))


def test_a_step_does_not_change_the_state_before_it():
    distribution = Enumerated(SITES)
    for kernel in (
        MetropolisHastings(distribution.log_density, SiteFlip()),
        MetropolisHastings(distribution.log_density, uneven_flip),
    ):
        state = kernel.start(distribution.states)
        before = [tensor.clone() for tensor in (state.x, *state.cache)]
        kernel.step(state, generator(0))
        assert all(map(torch.equal, before, (state.x, *state.cache)))


@pytest.mark.unchecked
def test_errors():
    zero = lambda x: torch.zeros(len(x))  # noqa: E731
    for proposal, message in [
        (lambda x, g: Candidate(x[:1]), r"the candidate of the proposal has shape \(1, 2\), must be \(3, 2\)"),
        (lambda x, g: Candidate(x.double()), "the candidate of the proposal has dtype torch.float64"),
        (
            lambda x, g: Candidate(x, torch.zeros(3, 2)),
            r"log_forward of the proposal has shape \(3, 2\), must be \(3,\)",
        ),
        (lambda x, g: Candidate(x, None, torch.zeros(3)), "log_backward without log_forward"),
    ]:
        kernel = MetropolisHastings(zero, proposal)
        with pytest.raises(ValueError, match=message):
            kernel.step(kernel.start(torch.ones(3, 2)), generator(0))
    walk = MetropolisHastings(zero, NormalWalk(torch.ones(2)))
    with pytest.raises(ValueError, match=r"scale has shape \(2,\); it must be a number or have shape \(3,\)"):
        walk.start(torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"scale=-1.0 must be a finite number greater than 0"):
        MetropolisHastings(zero, NormalWalk(torch.tensor([1.0, -1.0, 1.0]))).start(torch.ones(3, 2))
    for scale in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"scale={scale} must be a finite number greater than 0"):
            NormalWalk(scale)
    with pytest.raises(ValueError, match=r"dtype torch.int64; a walk with normal steps needs floating-point"):
        MetropolisHastings(zero, NormalWalk(1.0)).start(torch.ones(3, 2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"chain 0 has the value 0.0 at the start; .* are \(-1, 1\)"):
        MetropolisHastings(zero, SiteFlip()).start(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="at least 2 different numbers"):
        SiteFlip((1,))
