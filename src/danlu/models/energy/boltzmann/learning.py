"""The difference of energies with which a Boltzmann machine is trained."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.models.energy.boltzmann.pairs import PairCouplings
from danlu.models.energy.boltzmann.sweeps import GibbsSweeps
from danlu.models.energy.energy_model import Draw


def joint_energy(
    s: Float[Tensor, "n units"], upper: Float[Tensor, "units units"], bias: Float[Tensor, "units"]
) -> Float[Tensor, "n"]:
    """The energy of all units, which is linear in each of them.

    Args:
        s: the values, or means, of the units.
        upper: the couplings as an upper triangle.
        bias: the biases.
    """
    return -((s @ upper + bias) * s).sum(1)


def hidden_fields(
    v: Float[Tensor, "n visible"], couplings: Float[Tensor, "units units"], bias: Float[Tensor, "units"]
) -> Float[Tensor, "n hidden"]:
    """The fields of the hidden units from the visible ones.

    Args:
        v: the values of the visible units.
        couplings: W, symmetric, with zero diagonal.
        bias: the biases.
    """
    visible = v.shape[1]
    # under autocast the product is in bfloat16, in which probabilities near 1 would be rounded to 1
    return torch.addmm(bias[visible:], v, couplings[:visible, visible:]).to(bias.dtype)


def contrast(
    pairs: PairCouplings,
    bias: Float[Tensor, "units"],
    v: Float[Tensor, "n visible"],
    state: Float[Tensor, "n units"] | None,
    steps: int,
    clamped_sweeps: int,
    draw: Draw,
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n units"]]:
    """See ``BoltzmannMachine.contrast``.

    Args:
        pairs: the couplings.
        bias: the biases.
        v: visible values of the examples.
        state: values of all units of the chains; None starts them at the examples.
        steps: number of sweeps of the chains.
        clamped_sweeps: number of sweeps over coupled hidden units.
        draw: source of the random numbers.
    """
    upper = pairs.upper()
    couplings, fixed, blocks = (upper + upper.T).detach(), bias.detach(), pairs.structure.blocks
    positive, start = clamped(pairs, couplings, fixed, v, state is None, clamped_sweeps, draw)
    sweeps = GibbsSweeps(couplings, blocks)
    fields = state = start if state is None else state
    for _ in range(steps):
        state, fields = sweeps(state, fixed, draw(fixed.shape, True))
    last = blocks[-1].units
    negative = state.index_copy(1, last, fields[:, last].tanh())
    energies = joint_energy(torch.cat([positive, negative]), upper, bias)
    return energies[: len(v)] - energies[len(v) :], state


@torch.no_grad()
def clamped(
    pairs: PairCouplings, couplings: Tensor, bias: Tensor, v: Tensor, drawn: bool, clamped_sweeps: int, draw: Draw
) -> tuple[Tensor, Tensor]:
    """All units with the examples clamped: with means of independent hidden units, and with drawn ones if asked.

    Args:
        pairs: the couplings.
        couplings: their matrix.
        bias: the biases.
        v: visible values of the examples.
        drawn: whether drawn hidden units are needed, too.
        clamped_sweeps: number of sweeps over coupled hidden units.
        draw: source of the random numbers.

    Returns:
        all units with the means, or the drawn values of coupled hidden units; and all with drawn values if asked.
    """
    visible, hidden = v.shape[1], len(bias) - v.shape[1]
    if not hidden:
        return v, v
    fields = hidden_fields(v, couplings, bias)
    one = v.new_ones(())
    if pairs.structure.hidden_independent:
        means = torch.cat([v, fields.tanh()], 1)
        if not drawn:
            return means, means
        h = torch.copysign(one, (2 * fields).sigmoid() - draw((hidden,), True))
        return means, torch.cat([v, h], 1)
    sweeps = GibbsSweeps(couplings[visible:, visible:], pairs.structure.hidden_blocks)
    h = torch.copysign(one, draw((hidden,), True) - 0.5)
    for _ in range(clamped_sweeps):
        h = sweeps(h, fields, draw((hidden,), True))[0]
    s = torch.cat([v, h], 1)
    return s, s
