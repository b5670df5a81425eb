"""Gibbs samplers of Boltzmann machines whose sweeps differ in the units that are updated together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor

from danlu.experiments.sampling.exact_chains import frequencies, noise, sign_index, total_variation
from danlu.models.energy.boltzmann.blocks import Block, independent_sets
from danlu.models.energy.boltzmann.machine import BoltzmannMachine
from danlu.models.energy.boltzmann.sweeps import GibbsSweeps
from danlu.models.energy.energy_model import EnergyModel
from danlu.models.energy.enumeration import all_states
from danlu.models.energy.rbm.machine import RBM
from danlu.models.energy.rbm.path import RBMPath
from danlu.rng.keys import generator
from danlu.sampling.mcmc.block_gibbs import BlockGibbs
from danlu.sampling.mcmc.chains import run_chains

SPREAD = 0.8
"""standard deviation of the field of a unit for random values of the others; 1 is the glass transition"""
BIAS = 0.3
"""standard deviation of the biases"""
CHECKED = 16
"""units of the machines whose distribution is enumerated"""


class Sampler(NamedTuple):
    """A sampler of a machine.

    Attributes:
        model: the machine.
        kernel: a step is a sweep over all units.
        width: number of values of a state; visible units come first.
        updates: number of updates in a sweep, one after the other.
    """

    model: EnergyModel
    kernel: BlockGibbs
    width: int
    updates: int

    def start(self, chains: int) -> Tensor:
        """States of ones, which every machine allows."""
        return torch.ones(chains, self.width, dtype=next(self.model.parameters()).dtype)


def machine(couplings: Literal["all", "restricted"], units: int, seed: int) -> BoltzmannMachine:
    """A machine with random couplings and biases; half of its units are visible.

    Args:
        couplings: the pairs that are coupled. The fields have the same variance for both.
        units: number of units, even.
        seed: random seed.

    >>> machine("restricted", 6, seed=0).couplings[:3, :3].any()
    tensor(False)
    """
    source = generator("units", couplings, units, seed)
    model = cast(BoltzmannMachine, BoltzmannMachine((units // 2,), units // 2, couplings))
    inputs = units - 1 if couplings == "all" else units // 2
    half = torch.randn(units, units, generator=source).triu(1) * model.mask * SPREAD / math.sqrt(inputs)
    model.set_couplings(half + half.T)
    with torch.no_grad():
        model.bias.normal_(std=BIAS, generator=source)
    return model


@torch.no_grad()
def as_rbm(model: BoltzmannMachine) -> RBM:
    """The RBM with units 0 and 1 that has the distribution of a restricted machine with units −1 and 1.

    With s = 2x − 1, the couplings are 4 W and the biases 2 b − 2 W 1.

    Args:
        model: the restricted machine.

    >>> one = machine("restricted", 6, seed=0)
    >>> x = torch.cat(list(all_states(3)))
    >>> torch.allclose(as_rbm(one).log_prob(x), one.log_prob(2 * x - 1), atol=1e-5)
    True
    """
    rbm = cast(RBM, RBM(model.shape, model.hidden).to(model.bias.dtype))
    biases = 2 * (model.bias - model.couplings.sum(1))
    rbm.weight.copy_(4 * model.couplings[: model.visible, model.visible :])
    rbm.units.bias.copy_(biases[: model.visible])
    rbm.bias.copy_(biases[model.visible :])
    return rbm


def sampler(model: BoltzmannMachine, blocks: list[Block], updates: int) -> Sampler:
    """Sweeps over blocks of units. Uniform numbers are drawn for the hidden units first, as by an RBM.

    Args:
        model: the machine.
        blocks: the blocks, in the order of a sweep.
        updates: see ``Sampler``.
    """
    sweeps, bias = GibbsSweeps(model.couplings, blocks), model.bias.detach()

    def step(s: Tensor, source: torch.Generator) -> Tensor:
        h, v = (s.new_empty(len(s), width).uniform_(generator=source) for width in (model.hidden, model.visible))
        return sweeps(s, bias, torch.cat([v, h], 1))[0]

    return Sampler(model, BlockGibbs([step]), len(bias), updates)


def single_units(model: BoltzmannMachine, hidden_first: bool = False) -> Sampler:
    """One unit after the other, with a product for each.

    Args:
        model: the machine.
        hidden_first: whether the order is that of an RBM instead of that of ``in_blocks`` for all couplings.
    """
    hidden, visible = range(model.visible, len(model.bias)), range(model.visible)
    order = (*hidden, *visible) if hidden_first else (*visible, *hidden)
    return sampler(model, [Block(torch.tensor([unit]), True) for unit in order], len(order))


def in_blocks(model: BoltzmannMachine) -> Sampler:
    """The sweeps that danlu uses: the same result as one unit after the other, with fewer products.

    Args:
        model: the machine.
    """
    return sampler(model, model.pairs.structure.blocks, len(independent_sets(model.mask)))


def two_halves(model: BoltzmannMachine) -> Sampler:
    """All hidden units at once, then all visible ones, whether or not they are coupled.

    Args:
        model: the machine.
    """
    hidden, visible = torch.arange(model.visible, len(model.bias)), torch.arange(model.visible)
    return sampler(model, [Block(hidden, True), Block(visible, True)], 2)


def block_gibbs(model: BoltzmannMachine) -> Sampler:
    """The RBM with the distribution of a restricted machine; a state has its visible units only.

    Args:
        model: the restricted machine.
    """
    rbm = as_rbm(model)
    return Sampler(rbm, RBMPath(rbm).kernel(1.0), model.visible, len(independent_sets(model.mask)))


def different(one: Sampler, other: Sampler, chains: int, sweeps: int, seed: int) -> float:
    """The fraction of visible values, after each of some sweeps with the same random numbers, that are different.

    Args:
        one: a sampler.
        other: another one with the same number of visible units.
        chains: number of chains.
        sweeps: number of sweeps.
        seed: random seed.
    """
    signs = []
    for each in (one, other):
        source = generator("same", seed)
        run = run_chains(each.kernel, each.start(chains), sweeps, seed=source)
        signs.append(run.values[..., : math.prod(each.model.shape)] > 0)
    return float((signs[0] != signs[1]).double().mean())


@torch.no_grad()
def mismatch(build: Callable[[int, int], Sampler], chains: int, seed: int) -> float:
    """The distance of chains from the exact distribution of the visible units, as a multiple of the expected noise.

    Args:
        build: function of the number of units and the seed that gives the sampler.
        chains: number of chains; five draws of each are counted, with ten sweeps between them.
        seed: random seed.
    """
    one = build(CHECKED, seed)
    visible = math.prod(one.model.shape)
    run = run_chains(one.kernel, one.start(chains), draws=5, burn_in=50, thin=10, seed=seed)
    values = (0.0, 1.0) if isinstance(one.model, RBM) else (-1.0, 1.0)
    p = one.model.log_prob(torch.cat(list(all_states(visible, values)))).exp()
    index = sign_index(run.values[..., :visible])
    return total_variation(frequencies(index, len(p)), p) / noise(p, index.numel())
