"""What a restricted Boltzmann machine shows of itself: filters, and chains over time."""

import math

import pytest
import torch

from danlu.models.energy.enumeration import all_states
from danlu.models.energy.hopfield import Hopfield
from danlu.models.energy.rbm.machine import RBM
from danlu.rng.keys import generator
from danlu.verbs import has


def machine(visible="binary"):
    model = RBM((1, 3), hidden=2, visible=visible).double()
    with torch.no_grad():
        for number, parameter in enumerate((model.weight, model.bias, model.units.bias)):
            parameter.copy_(torch.randn(parameter.shape, generator=generator("views", number), dtype=torch.float64))
    return model


def test_a_filter_is_what_a_hidden_unit_adds_to_the_log_odds():
    model, x = machine(), torch.zeros(2, 1, 3, dtype=torch.float64)
    filters = model.filters()
    assert filters.shape == (2, 1, 3)
    for unit in range(2):
        off, on = torch.zeros(2), torch.zeros(2)
        on[unit] = 1
        for place in range(3):
            x[1] = 0
            x[1, 0, place] = 1
            odds = [model.joint_energy(x, h.double().expand(2, 2)).diff().neg() for h in (off, on)]
            torch.testing.assert_close((odds[1] - odds[0])[0], filters[unit, 0, place])


@torch.no_grad()
def test_a_filter_is_what_a_hidden_unit_adds_to_a_gaussian_mean():
    """The joint energy is quadratic in x, so its minimum is one step of Newton's method from 0."""
    model = machine("gaussian")
    model.units.log_variance.copy_(torch.tensor([0.5, -0.3, 0.1]))
    means = []
    for h in (torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])):
        with torch.enable_grad():
            x = torch.zeros(1, 1, 3, dtype=torch.float64, requires_grad=True)
            (gradient,) = torch.autograd.grad(model.joint_energy(x, h.double()).sum(), x)
        means.append(-gradient.view(3) * model.units.log_variance.exp())
    torch.testing.assert_close(means[1] - means[0], model.filters()[1, 0])


@torch.no_grad()
def test_chains_start_like_samples_and_reach_the_distribution():
    model, n = machine(), 20_000
    model.units.moments.add(torch.tensor([[1.0, 0.0, 1.0]] * 8 + [[0.0, 0.0, 1.0]] * 2))
    trace = model.chain_trace(n, (0, 1, 60), generator("trace"))
    assert trace.shape == (n, 3, 1, 3)
    assert set(trace[:, 0].unique().tolist()) == {0.0, 1.0}
    start = model.units.moments.probability().double()
    errors = (start * (1 - start) / n).sqrt()
    assert bool(((trace[:, 0, 0].mean(0) - start).abs() < 4.5 * errors).all())
    states = torch.cat(list(all_states(3, like=model.bias)))
    weights = model.log_prob(states[:, None]).exp()
    mean = (weights[:, None] * states).sum(0)
    assert bool(((trace[:, 2, 0].mean(0) - mean).abs() < 4.5 * trace[:, 2, 0].std(0) / math.sqrt(n)).all())
    assert bool(((trace[:, 1, 0].mean(0) - mean).abs() > 4.5 * errors).any())  # one step is not enough


def test_the_shown_steps_do_not_change_the_chains():
    model = machine("gaussian")
    every = model.chain_trace(4, range(7), generator("every"))
    some = model.chain_trace(4, (6, 0, 3), generator("every"))
    assert torch.equal(some, every[:, [6, 0, 3]])
    for steps in ((), (1, -1)):
        with pytest.raises(ValueError, match="at least one number, none of them negative"):
            model.chain_trace(4, steps)


def test_models_declare_what_values_they_take():
    assert has(machine(), "binary_values")
    assert machine().binary_values == (0.0, 1.0)
    assert not has(machine("gaussian"), "binary_values")
    with pytest.raises(ValueError, match="more than two values"):
        _ = machine("gaussian").binary_values
    assert Hopfield((4,), 1).binary_values == (-1.0, 1.0)
    modern = Hopfield((4,), 1, form="modern")
    assert not has(modern, "binary_values")
    with pytest.raises(ValueError, match="modern form"):
        _ = modern.binary_values
