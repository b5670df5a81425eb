"""A sweep is sequential Gibbs sampling: its transitions leave the distribution invariant, and clamped units stay."""

import pytest
import torch

from danlu.models.energy.boltzmann.blocks import blocks_of
from danlu.models.energy.boltzmann.sweeps import GibbsSweeps
from danlu.models.energy.enumeration import all_states


def machine(units, std, seed=0, probability=1.0):
    """Random couplings and biases in float64."""
    generator = torch.Generator().manual_seed(seed)
    upper = (torch.randn(units, units, generator=generator, dtype=torch.float64) * std).triu(1)
    upper *= torch.rand(units, units, generator=generator) < probability
    return upper + upper.T, torch.randn(units, generator=generator, dtype=torch.float64) * 0.5


def one_unit_after_the_other(states, couplings, bias, noise, order, beta=1.0):
    states = states.clone()
    for i in order:
        field = beta * (states * couplings[i]).sum(1) + bias[..., i]
        states[:, i] = torch.where(noise[:, i] < torch.sigmoid(2 * field), 1.0, -1.0).to(states.dtype)
    return states


@pytest.mark.parametrize("probability", [0.2, 1.0])
@pytest.mark.parametrize("size", [2, 3, 64])
def test_transitions_leave_the_distribution_invariant(probability, size):
    """The exact matrix of transitions: each is forced by the noise, and its probability follows from the fields."""
    couplings, bias = machine(8, 0.8, probability=probability)
    states = torch.cat([*all_states(8, (-1.0, 1.0), like=bias)])
    target = ((states @ couplings / 2 + bias) * states).sum(1).softmax(0)
    sweeps = GibbsSweeps(couplings, blocks_of(couplings != 0, size))
    before, after = states.repeat_interleave(256, 0), states.repeat(256, 1)
    drawn, fields = sweeps(before, bias, torch.where(after > 0, 0.0, 1.0).to(bias.dtype))
    assert torch.equal(drawn, after)
    matrix = (2 * after * fields).sigmoid().prod(1).view(256, 256)
    torch.testing.assert_close(matrix.sum(1), torch.ones(256, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(target @ matrix, target, rtol=0, atol=1e-10)
    assert not torch.allclose(matrix, target.expand(256, 256), atol=1e-3)  # the sweep is not an independent draw


@pytest.mark.parametrize("std", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("probability", [0.1, 1.0])
@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_blocks_equal_a_loop_over_units(std, probability, beta):
    """Also with strong couplings, where the values of a block depend on each other; biases of each chain differ."""
    couplings, bias = machine(90, std, probability=probability)
    generator = torch.Generator().manual_seed(1)
    bias = bias + torch.randn(20, 90, generator=generator, dtype=torch.float64)
    states = torch.randn(20, 90, generator=generator, dtype=torch.float64).sign()
    noise = torch.rand(20, 90, generator=generator, dtype=torch.float64)
    blocks = blocks_of(couplings != 0, 16)
    drawn, fields = GibbsSweeps(couplings, blocks)(states, bias, noise, beta)
    order = torch.cat([block.units for block in blocks]).tolist()
    expected = one_unit_after_the_other(states, couplings, bias, noise, order, beta)
    assert torch.equal(drawn, expected)
    assert torch.equal(drawn, torch.where(noise < torch.sigmoid(2 * fields), 1.0, -1.0).double())
    assert not torch.equal(drawn, states)


def test_a_chain_of_copies_is_followed_to_its_end():
    """Each unit copies the one before it, so that a block needs as many iterations as it has units."""
    units = 50
    couplings = torch.diag(torch.full((units - 1,), 40.0), 1)
    couplings = couplings + couplings.T
    states, noise = torch.ones(1, units), torch.full((1, units), 0.5)
    bias = torch.zeros(units)
    bias[0] = -100.0
    down = torch.arange(units) * -0.001  # ties between both neighbors end with the one before
    blocks = blocks_of(~torch.eye(units, dtype=torch.bool))
    drawn, _ = GibbsSweeps(couplings, blocks)(states, bias + down, noise)
    assert torch.equal(drawn, one_unit_after_the_other(states, couplings, bias + down, noise, range(units)))
    assert (drawn < 0).sum() == units


def test_clamped_units_never_change():
    couplings, bias = machine(70, 2.0)
    states = torch.randn(30, 70, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sign()
    clamped = torch.rand(30, 70, generator=torch.Generator().manual_seed(1)) < 0.5
    bias = torch.where(clamped, states * torch.inf, bias)
    sweeps, current = GibbsSweeps(couplings, blocks_of(couplings != 0)), states
    for step in range(5):
        noise = torch.rand(30, 70, generator=torch.Generator().manual_seed(step)).double()
        noise[:, ::7], noise[:, 1::7] = 0.0, 1 - 2.0**-53
        current = sweeps(current, bias, noise)[0]
        assert torch.equal(current[clamped], states[clamped])
    assert not torch.equal(current, states)


def test_the_arguments_are_not_changed():
    couplings, bias = machine(5, 1.0)
    states, noise = torch.ones(3, 5, dtype=torch.float64), torch.rand(3, 5, dtype=torch.float64)
    copies = [value.clone() for value in (couplings, bias, states, noise)]
    GibbsSweeps(couplings, blocks_of(couplings != 0, 2))(states, bias, noise)
    assert all(map(torch.equal, copies, (couplings, bias, states, noise)))
