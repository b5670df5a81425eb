"""Exact sums over units of a Boltzmann machine: some are enumerated, and those that are then independent factorize."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from danlu.models.energy.boltzmann.blocks import independent_sets
from danlu.models.energy.enumeration import all_states

ENTRIES = 2**22
"""number of fields that are computed at once"""


class Summed(NamedTuple):
    """Units that are summed out.

    Attributes:
        enumerated: numbers of those whose states are enumerated.
        independent: numbers of those that are independent given all others.
    """

    enumerated: Int[Tensor, "enumerated"]
    independent: Int[Tensor, "independent"]


def summed(mask: Bool[Tensor, "units units"], first: int = 0) -> Summed:
    """How to sum out the units from number ``first`` on: the largest independent set that is found factorizes.

    Args:
        mask: which units are coupled.
        first: number of the first unit that is summed out.

    >>> summed(torch.tensor([[0, 1, 1], [1, 0, 0], [1, 0, 0]]).bool())
    Summed(enumerated=tensor([0]), independent=tensor([1, 2]))
    """
    if first == len(mask):
        return Summed(*[torch.zeros(0, dtype=torch.long, device=mask.device)] * 2)
    sets = independent_sets(mask[first:, first:])
    others = torch.cat(sets[:-1]).sort().values if len(sets) > 1 else sets[0][:0]
    return Summed(others + first, sets[-1] + first)


def log_two_cosh(field: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """log(eˣ + e⁻ˣ), the logarithm of the sum over the two values of a unit with this field."""
    return torch.logaddexp(field, -field)


def log_sum_out(
    couplings: Float[Tensor, "units units"], bias: Float[Tensor, "units"], kept: Float[Tensor, "n kept"], over: Summed
) -> Float[Tensor, "n"]:
    r"""The logarithm of :math:`\sum e^{-E(s)}` over all values of some units. It has gradients.

    Args:
        couplings: W, symmetric, with zero diagonal.
        bias: the biases.
        kept: values of the first units; the others are summed out.
        over: the units that are summed out.

    >>> couplings, bias = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.zeros(2)
    >>> log_sum_out(couplings, bias, torch.ones(1, 1), summed(couplings != 0, 1))  # log(e + 1 / e)
    tensor([1.1269])
    """
    count = kept.shape[1]
    outer = _log_weight(couplings[:count, :count], bias[:count], kept)
    fields = torch.addmm(bias[count:], kept, couplings[:count, count:])  # of the units that are summed out
    enumerated, independent = over
    passes = list[Tensor]()
    for states in all_states(len(enumerated), (-1.0, 1.0), like=bias):
        inner = _log_weight(couplings[enumerated][:, enumerated], torch.zeros_like(bias[enumerated]), states)
        inner = inner + fields[:, enumerated - count] @ states.T
        from_states, chunk = states @ couplings[enumerated][:, independent], len(states) * max(1, len(independent))
        parts = fields[:, independent - count].split(max(1, ENTRIES // chunk))
        factors = [log_two_cosh(part[:, None] + from_states).sum(2) for part in parts]
        passes.append((inner + torch.cat(factors)).logsumexp(1))
    return outer + torch.stack(passes, 1).logsumexp(1)


def _log_weight(couplings: Tensor, bias: Tensor, states: Tensor) -> Tensor:
    """Minus the energy of these units alone."""
    return (torch.addmm(bias, states, couplings, alpha=0.5) * states).sum(1)
