"""Chains of a Boltzmann machine whose inverse temperature rises, with observed values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.models.energy.boltzmann.sweeps import GibbsSweeps
from danlu.models.energy.energy_model import Draw
from danlu.nn.dense import check_width


class Annealed(NamedTuple):
    """The end of annealed chains.

    Attributes:
        states: the states after the last sweep, (n, units).
        means: the average of the conditional means of each unit in the second half of the sweeps, (n, units).
    """

    states: Tensor
    means: Tensor


@torch.no_grad()
def annealed_chains(
    gibbs: GibbsSweeps,
    base: Float[Tensor, "units"],
    bias: Float[Tensor, "units"],
    evidence: Float[Tensor, "n units"],
    sweeps: int,
    draw: Draw,
) -> Annealed:
    """Chains that start at independent units; in the first half of the sweeps the inverse temperature rises to 1.

    Args:
        gibbs: sweeps of the machine.
        base: biases of the independent units.
        bias: biases of the machine.
        evidence: what is added to the fields of the units at every temperature; an infinite number clamps a unit.
        sweeps: number of sweeps.
        draw: source of the random numbers.

    Raises:
        ValueError: if ``sweeps`` is not positive.
    """
    check_width("sweeps", sweeps)
    states = gibbs(torch.ones_like(evidence), base + evidence, draw(base.shape, True), 0.0)[0]
    total = torch.zeros_like(evidence)
    for step in range(1, sweeps + 1):
        beta = min(1.0, 2 * step / sweeps)
        states, fields = gibbs(states, torch.lerp(base, bias, beta) + evidence, draw(base.shape, True), beta)
        if beta == 1:
            total += fields.tanh()
    return Annealed(states, total / (sweeps - (sweeps - 1) // 2))


@torch.no_grad()
def traced_chains(
    gibbs: GibbsSweeps,
    base: Float[Tensor, "units"],
    bias: Float[Tensor, "units"],
    states: Float[Tensor, "n units"],
    steps: Sequence[int],
    draw: Draw,
) -> Float[Tensor, "n shown units"]:
    """Chains without annealing that start at independent units: conditional means after some sweeps.

    Args:
        gibbs: sweeps of the machine.
        base: biases of the independent units.
        bias: biases of the machine.
        states: a tensor with the shape and type of the states.
        steps: numbers of sweeps; after 0, the state at the start is shown.
        draw: source of the random numbers.
    """
    states = gibbs(torch.ones_like(states), base, draw(base.shape, True), 0.0)[0]
    shown = {0: states}
    for step in range(1, max(steps) + 1):
        states, fields = gibbs(states, bias, draw(base.shape, True))
        if step in steps:
            shown[step] = fields.tanh()
    return torch.stack([shown[step] for step in steps], 1)
