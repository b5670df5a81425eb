r"""Gibbs sampling of binary units: one unit after the other, exactly, but with few and large matrix products.

A unit gets the value 1 with probability :math:`\sigma(2 f_i)`, where :math:`f_i = \sum_j W_{ij} s_j + b_i` is its
field. With a uniform number u, the value is the sign of :math:`f_i - \tfrac 1 2 \log \frac{u}{1 - u}`. A block of
units without couplings between them is drawn at once. In any other block, the k-th value depends on those before it:

.. math:: s_k = \operatorname{sign}\Big(f_k + \sum_{j < k} W_{kj} (s_j - s_j^{\text{old}}) - \text{threshold}_k\Big)

This triangular system has one solution. It is found by fixed-point iteration: after t iterations the first t values are
right, and usually a few iterations are enough for all. Song et al., "Accelerating feedforward computation via parallel
nonlinear equation solving", 2021, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.models.energy.boltzmann.blocks import Block


class GibbsSweeps:
    """Sweeps over all units of a Boltzmann machine, for many chains at once.

    Args:
        couplings: W, symmetric, with zero diagonal.
        blocks: blocks of all units, in the order of a sweep.

    >>> from danlu.models.energy.boltzmann.blocks import blocks_of
    >>> couplings = torch.tensor([[0.0, 3.0], [3.0, 0.0]])
    >>> sweeps = GibbsSweeps(couplings, blocks_of(couplings != 0))
    >>> states, fields = sweeps(torch.ones(1, 2), torch.zeros(2), torch.tensor([[0.999, 0.5]]))
    >>> states, fields  # the first unit changes, so the field of the second is -3
    (tensor([[-1., -1.]]), tensor([[ 3., -3.]]))
    """

    def __init__(self, couplings: Float[Tensor, "units units"], blocks: Sequence[Block]):
        couplings = couplings.detach()
        order = torch.cat([block.units for block in blocks])
        self._order = None if torch.equal(order, torch.arange(len(order), device=order.device)) else order
        ordered = couplings if self._order is None else couplings[order][:, order]
        self._one, start = couplings.new_ones(()), 0
        self._parts: list[tuple[slice, Tensor, Tensor | None]] = []
        for block in blocks:
            units = slice(start, start := start + len(block.units))
            between = None if block.independent else ordered[units, units].triu(1)
            self._parts.append((units, ordered[:, units], between))

    @torch.no_grad()
    def __call__(
        self, states: Float[Tensor, "n units"], bias: Tensor, noise: Float[Tensor, "n units"], beta: float = 1.0
    ) -> tuple[Float[Tensor, "n units"], Float[Tensor, "n units"]]:
        """Update every unit of every chain once.

        Args:
            states: the states, which are not changed.
            bias: the biases, (units,) or for each chain (n, units). An infinite one clamps a unit.
            noise: uniform random numbers on [0, 1).
            beta: inverse temperature, which multiplies the couplings.

        Returns:
            the new states, and the field of each unit when it was drawn; the mean of the unit was tanh of it.
        """
        order, thresholds = self._order, _half_log_odds(noise)
        if order is None:
            states = states.clone()
        else:
            states, bias, thresholds = states[:, order], bias[..., order], thresholds[:, order]
        fields = torch.empty_like(states)
        for units, rows, between in self._parts:
            field, threshold = torch.addmm(bias[..., units], states, rows, alpha=beta), thresholds[:, units]
            if between is None:
                states[:, units] = self._signs(field - threshold)
            else:
                states[:, units], field = self._in_order(states[:, units], field, threshold, between, beta)
            fields[:, units] = field
        if order is None:
            return states, fields
        return torch.empty_like(states).index_copy_(1, order, states), fields.index_copy(1, order, fields)

    def _in_order(
        self, old: Tensor, field: Tensor, threshold: Tensor, between: Tensor, beta: float
    ) -> tuple[Tensor, Tensor]:
        """The new values of a block, each after those before it, and their fields."""
        values = self._signs(field - threshold)
        field = torch.addmm(field, old, between, alpha=-beta)  # without the units before, whose values change
        surplus = field - threshold
        for _ in between:
            before = values
            values = self._signs(torch.addmm(surplus, values, between, alpha=beta))
            if torch.equal(values, before):
                break
        return values, torch.addmm(field, values, between, alpha=beta)

    def _signs(self, values: Tensor) -> Tensor:
        return torch.copysign(self._one, values)


def _half_log_odds(uniform: Tensor) -> Tensor:
    """Half of log u / (1 − u), finite also for u = 0."""
    return (uniform.clamp(min=torch.finfo(uniform.dtype).tiny).log() - (-uniform).log1p()) / 2
