"""Runs of chains: the same numbers however they are divided, burn-in, thinning, kept draws, bad input."""

from copy import copy

import pytest
import torch

from danlu.rng import generator
from danlu.sampling import (
    MALA,
    BlockGibbs,
    Gibbs,
    Langevin,
    MetropolisHastings,
    NormalWalk,
    ParallelTempering,
    SiteFlip,
    run_chains,
)
from mcmc_laws import Enumerated

DISTRIBUTION = Enumerated(4)


def normal(x):
    return -x.square().sum(1) / 2


def walk(beta=1.0):
    return MetropolisHastings(lambda x: beta * normal(x), NormalWalk(1.0))


def coins(x, g):
    return (torch.rand(x.shape, generator=g) < 0.5).to(x.dtype)


TEMPERING = ParallelTempering(normal, walk, (1, 2, 4))
KERNELS = {
    "gibbs": (Gibbs(DISTRIBUTION.log_density), torch.ones(5, 4, dtype=torch.double)),
    "random scan": (Gibbs(DISTRIBUTION.log_density, scan="random"), torch.ones(5, 4, dtype=torch.double)),
    "blocks": (BlockGibbs([coins]), torch.ones(5, 4)),
    "flips": (MetropolisHastings(DISTRIBUTION.log_density, SiteFlip()), torch.ones(5, 4, dtype=torch.double)),
    "walk": (walk(), torch.zeros(5, 4)),
    "langevin": (Langevin(normal, 0.5), torch.zeros(5, 4)),
    "mala": (MALA(normal, 0.9), torch.zeros(5, 4)),
    "tempering": (TEMPERING, TEMPERING.replicas(torch.zeros(5, 4))),
}


@pytest.mark.parametrize("name", KERNELS)
def test_the_draws_do_not_depend_on_how_many_steps_are_asked_for_at_once(name):
    kernel, start = KERNELS[name]
    whole = run_chains(kernel, start, draws=12, burn_in=4, thin=2, seed=3)
    assert whole.steps == 28
    first = run_chains(kernel, start, draws=5, burn_in=4, thin=2, seed=3)
    second = run_chains(kernel, first.state, draws=7, thin=2, seed=3, first_step=first.steps)
    assert torch.cat([first.values, second.values], 1).equal(whole.values)
    assert second.steps == whole.steps
    from_values = run_chains(kernel, first.state.x, draws=7, thin=2, seed=3, first_step=first.steps)
    assert from_values.values.equal(second.values)  # a state is determined by its values
    source = generator(1)
    sequential = run_chains(kernel, start, draws=12, burn_in=4, thin=2, seed=generator(1)).values
    first = run_chains(kernel, start, draws=5, burn_in=4, thin=2, seed=source)
    second = run_chains(kernel, first.state, draws=7, thin=2, seed=source)
    assert torch.cat([first.values, second.values], 1).equal(sequential)
    assert not sequential.equal(whole.values)


@pytest.mark.parametrize("name", KERNELS)
def test_numbers_differ_between_chains_steps_and_seeds(name):
    kernel, start = KERNELS[name]
    values = run_chains(kernel, start, draws=40, seed=0).values.flatten(2)
    assert len(values.flatten(1).unique(dim=0)) == 5
    assert not values.equal(run_chains(kernel, start, draws=40, seed=1).values.flatten(2))
    assert values.equal(run_chains(kernel, start, draws=40, seed=0).values.flatten(2))
    increments = values.diff(dim=1)[0]
    assert len(increments.unique(dim=0)) > 3


def test_burn_in_and_thinning_select_steps():
    kernel, start = KERNELS["walk"]
    every = run_chains(kernel, start, draws=20)
    some = run_chains(kernel, start, draws=5, burn_in=5, thin=3)
    assert some.values.equal(every.values[:, 7::3])
    moved = torch.cat([start[:, None], every.values], 1).diff(dim=1).abs().sum(2) > 0
    torch.testing.assert_close(some.acceptance, moved[:, 5:].float().mean(1))
    torch.testing.assert_close(every.acceptance, moved.float().mean(1))
    assert some.swaps.shape == (0,)


def test_swap_rates_are_means_over_chains_and_steps():
    kernel, start = KERNELS["tempering"]
    state = kernel.start(start)
    swaps = []
    for step in range(6):
        state = kernel.step(state, generator("chains", 0, step))
        swaps.append(state.swaps)
    found = run_chains(kernel, start, draws=2, burn_in=2, thin=2)
    torch.testing.assert_close(found.swaps, torch.stack(swaps[2:]).mean((0, 1)))
    assert found.state.x.equal(state.x)


def test_only_what_is_asked_for_is_kept():
    kernel, start = KERNELS["walk"]
    norms = run_chains(kernel, start, draws=7, keep=lambda x: x.square().sum(1)).values
    assert norms.equal(run_chains(kernel, start, draws=7).values.square().sum(2))
    integers = run_chains(KERNELS["gibbs"][0], KERNELS["gibbs"][1], draws=7, keep=DISTRIBUTION.index).values
    assert integers.dtype == torch.int64


def test_no_gradients_are_recorded():
    weight = torch.ones(4, requires_grad=True)
    density = lambda x: -(x * weight).square().sum(1)  # noqa: E731
    for kernel in (MetropolisHastings(density, NormalWalk(1.0)), MALA(density, 0.5), Langevin(density, 0.5)):
        result = run_chains(kernel, torch.zeros(3, 4), draws=2)
        tensors = (result.values, result.state.x, *result.state.cache, result.acceptance)
        assert not any(tensor.requires_grad for tensor in tensors)
    assert weight.grad is None


@pytest.mark.unchecked
@pytest.mark.parametrize("name", KERNELS)
def test_chains_need_a_start(name):
    kernel, start = KERNELS[name]
    for wrong in (start[:0], torch.tensor(1.0)):
        with pytest.raises(ValueError, match=r"it must be \(chains, ...\) with at least 1 chain"):
            run_chains(kernel, wrong, draws=1)


@pytest.mark.unchecked
@pytest.mark.parametrize("name", ["gibbs", "flips", "walk", "langevin", "mala"])
def test_a_log_density_that_is_not_finite_or_has_another_shape(name):
    kernel, start = KERNELS[name]
    values = torch.zeros(5, dtype=start.dtype)
    values[3] = -torch.inf
    kernel = copy(kernel)
    for density, message in [
        (
            lambda x: x.sum(1) * 0 + values,
            "the log-density of chain 3 is -inf at the start; start where the density is",
        ),
        (lambda x: x[:, :1], r"the log-density has shape \(5, 1\), must be \(5,\)"),
        (lambda x: x.sum(1).long(), "the log-density has dtype torch.int64; return floating-point numbers"),
    ]:
        kernel.log_density = density
        with pytest.raises(ValueError, match=message):
            run_chains(kernel, start, draws=1)


def test_numbers_out_of_range():
    kernel, start = KERNELS["walk"]
    for settings, message in [
        ({"draws": 0}, "draws=0 must be at least 1"),
        ({"draws": 1, "burn_in": -1}, "burn_in=-1 must be at least 0"),
        ({"draws": 1, "thin": 0}, "thin=0 must be at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            run_chains(kernel, start, **settings)
