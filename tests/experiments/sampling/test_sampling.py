"""The experiments on sampling: exact chains against other computations, and measures against the library's own."""

import itertools
import math

import pytest
import torch

from danlu.experiments.sampling import exact_chains, gibbs, importance_sampling, metropolis_hastings, proposals
from danlu.experiments.sampling.barrier import energy_barrier
from danlu.experiments.sampling.machine import UNITS, machine
from danlu.experiments.sampling.without_convergence import LAZY, PERIODIC, TRAPPED, on_ring, trapped
from danlu.rng import generator
from danlu.sampling import MetropolisHastings
from mcmc_laws import Enumerated, assert_frequencies, total_variation


def test_states_are_numbered_in_their_order():
    states = exact_chains.sign_states(5)
    assert exact_chains.sign_index(states).tolist() == list(range(32))
    assert states.equal(Enumerated(5).states)
    assert exact_chains.sign_index(states.view(4, 8, 5)).shape == (4, 8)


@pytest.mark.parametrize("coupling", [0.0, 2.0])
def test_a_machine_is_the_boltzmann_machine_of_its_couplings(coupling):
    model = machine(coupling, seed=1)
    x = exact_chains.sign_states(UNITS)[[3, 200]]
    for row, value in zip(x, model.log_density(x), strict=True):
        pairs = sum(float(model.weight[i, j] * row[i] * row[j]) for i, j in itertools.combinations(range(UNITS), 2))
        assert float(value) == pytest.approx(pairs + float(model.bias @ row))
    flipped = x.clone()
    flipped[:, 5] = -1
    x[:, 5] = 1
    torch.testing.assert_close(model.field(x, 5), model.log_density(x) - model.log_density(flipped))
    without = machine(0.0, seed=1).weight
    expected = coupling / UNITS * torch.outer(model.pattern, model.pattern)
    torch.testing.assert_close(model.weight - without, expected.fill_diagonal_(0))


def test_a_sweep_leaves_the_model_invariant_and_is_what_the_chains_do():
    model = machine(1.0, seed=0)
    p, matrix = model.probabilities(), exact_chains.sweep_matrix(model.kernel(), UNITS)
    torch.testing.assert_close(p @ matrix, p, atol=1e-12, rtol=0)
    torch.testing.assert_close(exact_chains.stationary(matrix), p, atol=1e-12, rtol=0)
    start = exact_chains.sign_states(UNITS)[77].repeat(50_000, 1)
    after = model.kernel().step(model.kernel().start(start), generator(0)).x
    assert_frequencies(exact_chains.sign_index(after), matrix[77])


@pytest.mark.parametrize("distance", [0.1, 0.01, 1e-4])
def test_the_number_of_steps_is_the_first_below_the_distance(distance):
    model = machine(1.5, seed=2)
    p, matrix = model.probabilities(), exact_chains.sweep_matrix(model.kernel(), UNITS)
    start = torch.zeros_like(p).index_fill_(0, p.argmin(), 1.0)
    counted, current = 0, start
    while exact_chains.total_variation(current, p) > distance:
        counted, current = counted + 1, current @ matrix
    assert counted > 1
    assert exact_chains.steps_until(matrix, start, p, distance) == counted
    assert exact_chains.steps_until(matrix, p, p, distance) == 0


def barrier_by_levels(energies, start, end):
    """The lowest level at which the states up to it connect both ends."""
    for level in sorted(energies.tolist()):
        reached, new = set(), {start} if energies[start] <= level else set()
        while new:
            reached |= new
            neighbors = {state ^ (1 << unit) for state in new for unit in range(6)}
            new = {state for state in neighbors - reached if energies[state] <= level}
        if end in reached:
            return level - float(energies[start])
    raise AssertionError


def test_the_barrier_is_the_lowest_level_that_connects_both_states():
    for seed in range(5):
        energies = torch.randn(64, generator=generator("energies", seed), dtype=torch.float64)
        assert energy_barrier(energies, 0, 63) == pytest.approx(barrier_by_levels(energies, 0, 63))
    with pytest.raises(ValueError, match="state 64 must be one of 64 states"):
        energy_barrier(energies, 0, 64)


def test_noise_and_distance_are_those_of_the_tests_of_the_samplers():
    p = torch.rand(40, generator=generator(0), dtype=torch.float64)
    p = p / p.sum()
    index = torch.multinomial(p, 5000, replacement=True, generator=generator(1))
    found = exact_chains.total_variation(exact_chains.frequencies(index, 40), p)
    assert found == pytest.approx(total_variation(index, p))
    repeated = [exact_chains.distance_of_draws(p, 5000, "repeat", number) for number in range(200)]
    assert sum(repeated) / 200 == pytest.approx(exact_chains.noise(p, 5000), rel=0.05)


def test_random_proposals_have_p_as_their_stationary_distribution_only_with_q():
    p, q = proposals.grid_density(3), proposals.grid_proposal(3)
    for with_q in (True, False):
        kernel = proposals.grid_kernel(p, q, with_q)
        matrix = proposals.grid_matrix(kernel, q, with_q)
        by_hand = torch.zeros_like(matrix)
        for x, y in itertools.product(range(proposals.STATES), repeat=2):
            ratio = float(p[y] / p[x]) * (float(q[y, x] / q[x, y]) if with_q else 1.0)
            by_hand[x, y] = q[x, y] * min(1.0, ratio)
        by_hand += torch.diag(1 - by_hand.sum(1))
        torch.testing.assert_close(matrix, by_hand, atol=1e-14, rtol=0)
        assert ((p @ matrix - p).abs().max() < 1e-14) == with_q
        after = kernel.step(kernel.start(torch.full((50_000,), 7)), generator(0)).x
        assert_frequencies(after, matrix[7])


def test_the_log_normal_walk_has_its_density_in_the_acceptance():
    x = torch.tensor([0.5, -2.0], dtype=torch.float64)
    candidate = proposals.log_normal_walk(True)(x, generator(0))
    new = candidate.x
    log_normal = torch.distributions.LogNormal
    forward = log_normal(x.abs().log(), proposals.SCALE).log_prob(new.abs())
    backward = log_normal(new.abs().log(), proposals.SCALE).log_prob(x.abs())
    torch.testing.assert_close(candidate.log_forward - candidate.log_backward, forward - backward)
    assert new.sign().equal(x.sign())
    assert proposals.log_normal_walk(False)(x, generator(0)).log_forward is None


def test_without_q_the_gamma_density_loses_one_of_its_shape():
    """p(x) / x is stationary: exact draws of it keep their mean, 2, where p has the mean 3."""
    shape, chains = 3.0, 100_000
    gamma = torch.distributions.Gamma(torch.tensor(shape - 1, dtype=torch.float64), 1.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = gamma.sample((chains,))
    kernel = MetropolisHastings(lambda x: (shape - 1) * x.log() - x, proposals.log_normal_walk(False))
    state = kernel.start(x)
    for step in range(5):
        state = kernel.step(state, generator(step))
    assert float(state.x.mean()) == pytest.approx(2.0, abs=4 * math.sqrt(2 / chains))


def test_proposals_that_do_not_converge_have_the_distances_of_their_limits():
    chains = 4000
    arms, shown = trapped(0, chains)
    left = float(torch.distributions.Normal(shown["mean"], 1.0).cdf(torch.tensor(0.0)))
    assert arms[TRAPPED]["distance"] == pytest.approx(left, abs=0.05)  # what is missing; a bin has 0.05
    arms, _ = on_ring(0, chains)
    assert arms[PERIODIC]["distance"] == pytest.approx(0.5, abs=0.02)
    assert arms[LAZY]["distance"] < 2 * exact_chains.noise(torch.full((20,), 0.05), chains)


def test_ten_crates_have_most_of_the_fruits():
    of = importance_sampling.crates(0)
    assert float(of.p.sum()) == pytest.approx(1)
    assert float(of.p.topk(10).values.sum()) == pytest.approx(0.9)
    assert of.mean == pytest.approx(float((of.p * of.f).sum()))
    assert float(of.f.min()) > 0


@pytest.mark.parametrize("kind", [importance_sampling.PLAIN, importance_sampling.NORMALIZED])
def test_no_proposal_has_a_smaller_variance_in_theory_than_the_optimal_one(kind):
    of = importance_sampling.crates(1)
    best = importance_sampling.PLAIN_BEST if kind == importance_sampling.PLAIN else importance_sampling.BEST
    lowest = importance_sampling.theory(kind, importance_sampling.probabilities(best, of), of)
    absolute = of.f if kind == importance_sampling.PLAIN else of.f - of.mean
    bound = max(
        float((of.p * absolute.abs()).sum()) ** 2 - (of.mean**2 if absolute is of.f else 0), 0
    )  # Cauchy–Schwarz
    assert lowest == pytest.approx(math.sqrt(bound / importance_sampling.DRAWS), abs=1e-9)
    for seed in range(20):
        noise = torch.randn(len(of.p), generator=generator("other", seed), dtype=torch.float64)
        q = importance_sampling.probabilities(best, of) * (0.3 * noise).exp()
        assert importance_sampling.theory(kind, q / q.sum(), of) > lowest


def test_the_bias_of_both_estimates_of_uniform_draws():
    of, repeats = importance_sampling.crates(2), 2000
    q = importance_sampling.probabilities(importance_sampling.UNIFORM, of)
    found = importance_sampling.estimates(q, of, repeats, seed=0)
    plain = found[importance_sampling.PLAIN]
    assert float(plain.mean()) == pytest.approx(of.mean, abs=4 * float(plain.std()) / math.sqrt(repeats))
    normalized = found[importance_sampling.NORMALIZED]
    assert float(normalized.mean()) > of.mean + 10 * float(normalized.std()) / math.sqrt(repeats)  # without full crates


def test_growth_is_the_slope_of_the_logarithm():
    barriers = [2.0 * coupling for coupling in gibbs.SERIES]
    series = {"barrier": barriers, "sweeps": [math.exp(0.7 * barrier) for barrier in barriers]}
    assert gibbs._growth(series) == pytest.approx(0.7)
    series["sweeps"][0] = 1e9  # below two modes
    assert gibbs._growth(series) == pytest.approx(0.7)


@pytest.mark.parametrize("arm", list(metropolis_hastings.ACCEPTANCE))
def test_a_quick_measure_has_the_exact_distances(arm):
    arms, shown = metropolis_hastings.on_grid(5, 3000)
    p, q = proposals.grid_density(5), proposals.grid_proposal(5)
    right = metropolis_hastings.ACCEPTANCE[arm]
    matrix = proposals.grid_matrix(proposals.grid_kernel(p, q, right), q, right)
    limit = torch.linalg.matrix_power(matrix, 4096)[0]
    assert arms[arm]["stationary"] == pytest.approx(float((limit - p).abs().sum() / 2), abs=1e-9)
    assert sum(shown[arm]) == pytest.approx(1)
