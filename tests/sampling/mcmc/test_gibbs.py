"""Gibbs sampling: exact transition matrices by enumeration, transitions as frequent as they say, many draws."""

import pytest
import torch

from danlu.errors import RunError
from danlu.rng import generator
from danlu.sampling import Gibbs, run_chains
from mcmc_laws import (
    Enumerated,
    assert_distributed,
    assert_frequencies,
    assert_invariant,
    detailed_balance_residual,
    sweep_matrix,
    total_variation,
)

POTTS = {"sites": 4, "values": (0, 1, 2)}


def potts_logits(distribution):
    """The logits of a site, by direct computation."""

    def logits(x, site):
        weight, values = distribution.weight[site], torch.tensor(distribution.values, dtype=x.dtype)
        return ((x * weight).sum(1) + distribution.bias[site])[:, None] * values  # no coupling of a site to itself

    return logits


def kernels(distribution, scan):
    """With the log-density, and with the conditional."""
    binary = len(distribution.values) == 2
    conditional = distribution.field if binary else potts_logits(distribution)
    return [
        Gibbs(distribution.log_density, distribution.values, scan),
        Gibbs(distribution.log_density, distribution.values, scan, conditional),
    ]


@pytest.mark.parametrize("settings", [{"sites": 8}, POTTS], ids=["8 binary sites", "4 sites of 3 values"])
@pytest.mark.parametrize("scan", ["systematic", "random"])
def test_the_distribution_is_stationary_under_the_exact_transition_matrix(settings, scan):
    distribution = Enumerated(**settings)
    by_density, by_conditional = (sweep_matrix(distribution, kernel) for kernel in kernels(distribution, scan))
    torch.testing.assert_close(by_density, by_conditional, atol=1e-12, rtol=0)
    assert_invariant(distribution.p, by_density)
    residual = detailed_balance_residual(distribution.p, by_density)
    if scan == "random":
        assert residual < 1e-12
    else:
        assert residual > 1e-4  # the order of the sites is not reversed


@pytest.mark.parametrize("which", ["log-density", "conditional"])
@pytest.mark.parametrize("settings", [{"sites": 5}, POTTS], ids=["binary", "3 values"])
@pytest.mark.parametrize("scan", ["systematic", "random"])
def test_transitions_are_as_frequent_as_in_the_exact_matrix(settings, scan, which):
    distribution = Enumerated(**settings)
    kernel = kernels(distribution, scan)[which == "conditional"]
    matrix = sweep_matrix(distribution, kernel)
    for start in (0, 7):
        state = kernel.start(distribution.at(start, 50_000))
        after = distribution.index(kernel.step(state, generator(start)).x)
        assert_frequencies(after, matrix[start])
        assert total_variation(after, distribution.p) > 0.05  # one step does not converge


def run(distribution, chains, draws):
    kernel = Gibbs(distribution.log_density, conditional=distribution.field)
    start = torch.ones(chains, distribution.states.shape[1], dtype=torch.double)
    return run_chains(kernel, start, draws, burn_in=50)


def effective(result):
    """The number of effective draws: the smallest over the sites."""
    return min(float(result.effective_sample_size("mean").min()), result.values[..., 0].numel())


def test_many_draws_have_the_distribution():
    distribution = Enumerated(sites=8, scale=0.3)
    result = run(distribution, chains=1000, draws=100)
    assert effective(result) > 2e4
    assert_distributed(distribution.index(result.values), distribution.p, effective(result))
    assert result.acceptance.unique().tolist() == [1.0]
    assert float(result.rhat().max()) < 1.05  # 1.02 is expected of chains with 30 effective draws


@pytest.mark.long
def test_a_million_effective_draws_have_the_distribution():
    distribution = Enumerated(sites=8, scale=0.3)
    result = run(distribution, chains=20_000, draws=200)
    assert effective(result) > 1e6
    assert_distributed(distribution.index(result.values), distribution.p, effective(result))


@pytest.mark.parametrize("scan", ["systematic", "random"])
def test_clamped_sites_keep_their_values_and_the_others_have_the_conditional_distribution(scan):
    distribution = Enumerated(sites=6)
    free = (1, 2, 5)
    kernel = Gibbs(distribution.log_density, scan=scan, conditional=distribution.field, sites=free)
    start = distribution.at(21, 20_000)
    x = run_chains(kernel, start, draws=1, burn_in=30).values[:, 0]
    clamped = torch.tensor([0, 3, 4])
    assert x[:, clamped].equal(start[:, clamped])
    possible = (distribution.states[:, clamped] == distribution.states[21, clamped]).all(1)
    conditional = torch.where(possible, distribution.p, 0)
    assert_distributed(distribution.index(x), conditional / conditional.sum())


@pytest.mark.parametrize("scan", ["systematic", "random"])
def test_infinite_log_odds_clamp_other_sites_in_each_chain(scan):
    """Even chains keep the sites 0, 3 and 4, odd ones the sites 1 and 2."""
    distribution, sites = Enumerated(sites=6), (torch.tensor([0, 3, 4]), torch.tensor([1, 2]))
    start = distribution.at(21, 20_000)
    clamped = torch.zeros(start.shape, dtype=torch.bool)
    for parity in (0, 1):
        clamped[parity::2, sites[parity]] = True

    def conditional(x, site):
        chain = torch.arange(len(x)) if scan == "random" else slice(None)
        return torch.where(clamped[chain, site], torch.inf * start[chain, site], distribution.field(x, site))

    kernel = Gibbs(distribution.log_density, scan=scan, conditional=conditional)
    x = run_chains(kernel, start, draws=1, burn_in=20).values[:, 0]
    assert x[clamped].equal(start[clamped])
    for parity in (0, 1):
        possible = (distribution.states[:, sites[parity]] == distribution.states[21, sites[parity]]).all(1)
        conditional_p = torch.where(possible, distribution.p, 0)
        assert_frequencies(distribution.index(x[parity::2]), conditional_p / conditional_p.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_states_of_any_shape_and_dtype(dtype):
    weight = Enumerated(sites=6).weight
    density = lambda x: (lambda y: (y @ weight * y).sum(1))(x.flatten(1).double())  # noqa: E731
    kernel = Gibbs(density, values=(0, 1), scan="random")
    start = torch.zeros(3, 2, 50, dtype=dtype).permute(2, 0, 1)  # (50, 3, 2), not contiguous
    x = kernel.step(kernel.start(start), generator(0)).x
    assert (x.shape, x.dtype) == (start.shape, dtype)
    assert not start.any()
    assert x.any()
    assert {value.item() for value in x.unique()} <= {0, 1}


def test_a_value_of_probability_0_is_excluded():
    density = lambda x: torch.where(x.sum(1) <= 2, 0.0, -torch.inf)  # noqa: E731
    kernel = Gibbs(density, values=(0, 1, 2))
    values = run_chains(kernel, torch.zeros(500, 3), draws=20).values
    assert float(values.sum(2).max()) == 2
    counts = torch.bincount((values[:, -1] * torch.tensor([9, 3, 1])).sum(1).long())
    assert int((counts > 0).sum()) == 10  # all states with a sum of at most 2


@pytest.mark.unchecked
def test_errors():
    zero = lambda x: torch.zeros(len(x))  # noqa: E731
    for settings, message in [
        ({"values": (1,)}, r"values=\(1,\) must be at least 2 different numbers"),
        ({"values": (1, 1)}, r"values=\(1, 1\) must be at least 2 different"),
        ({"scan": "ordered"}, "scan='ordered' must be 'systematic' or 'random'"),
        ({"sites": ()}, r"sites=\(\) must be at least 1 site, each at most once"),
        ({"sites": (0, 0)}, r"sites=\(0, 0\) must be at least 1 site"),
    ]:
        with pytest.raises(ValueError, match=message):
            Gibbs(zero, **settings)
    with pytest.raises(ValueError, match=r"site 2 must be from 0 to 1"):
        Gibbs(zero, sites=(0, 2)).start(torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"chain 1 has the value 0.0 at the start; the values of a site are \(-1, 1\)"):
        Gibbs(zero).start(torch.tensor([[1.0, 1.0], [-1.0, 0.0]]))
    with pytest.raises(ValueError, match="at least 1 site"):
        Gibbs(zero).start(torch.ones(3, 0))
    kernel = Gibbs(zero, conditional=lambda x, site: torch.zeros(len(x), 2))
    with pytest.raises(ValueError, match=r"the conditional has shape \(3, 2\), must be \(3,\)"):
        kernel.step(kernel.start(torch.ones(3, 2)), generator(0))
    bad = lambda x, site: torch.tensor([0.0, torch.nan, 0.0])  # noqa: E731
    kernel = Gibbs(zero, conditional=bad)
    with pytest.raises(RunError, match="chain 1: a site has no distribution"):
        kernel.step(kernel.start(torch.ones(3, 2)), generator(0))
