"""What happens during a recall: the states after each step, the energies, and every change of a unit."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor


class Step(NamedTuple):
    """The states after a step of a recall.

    Attributes:
        states: the states, (n, units).
        period: for each state 1 if it is a fixed point, 2 if it is part of a cycle of length 2, else 0.
    """

    states: Float[Tensor, "n units"]
    period: Int[Tensor, "n"]


class Flips(NamedTuple):
    """Changes of single units in an asynchronous recall, in the order of the updates of each state.

    Attributes:
        state: number of the state.
        update: number of the update, from 0: sweep · units + place of the unit in the order of the sweep.
        unit: number of the unit.
        change: change of the energy.
    """

    state: Int[Tensor, "flips"]
    update: Int[Tensor, "flips"]
    unit: Int[Tensor, "flips"]
    change: Float64[Tensor, "flips"]


class RecallTrace(NamedTuple):
    """The course of a recall.

    Attributes:
        states: the states before the first step and after each step, (steps + 1, n, *shape).
        energies: their energies, (steps + 1, n).
        period: for each state 1 if the last one is a fixed point, 2 if it is part of a cycle of length 2, 0 if it still
            changes.
        flips: every change of a unit, for asynchronous updates; None for others.
    """

    states: Float[Tensor, "steps n *shape"]
    energies: Float64[Tensor, "steps n"]
    period: Int[Tensor, "n"]
    flips: Flips | None

    def energy_curve(self, number: int) -> tuple[Int[Tensor, "points"], Float64[Tensor, "points"]]:
        """The energy of one state as a function of the number of updates of single units.

        Args:
            number: number of the state.

        Returns:
            The numbers of updates, from 0, and the energies after them. Without ``flips``, an update is a step.

        >>> changes = torch.tensor([-2.0, -1.0]).double()
        >>> flips = Flips(torch.tensor([0, 0]), torch.tensor([1, 6]), torch.tensor([3, 2]), changes)
        >>> trace = RecallTrace(torch.ones(2, 1, 4), torch.zeros(2, 1).double(), torch.ones(1).long(), flips)
        >>> trace.energy_curve(0)
        (tensor([0, 2, 7]), tensor([ 0., -2., -3.], dtype=torch.float64))
        """
        energies = self.energies[:, number]
        if self.flips is None:
            return torch.arange(len(energies)), energies
        own = self.flips.state == number
        changes = self.flips.change[own].cumsum(0)
        first = torch.zeros(1, dtype=torch.long, device=own.device)
        return torch.cat([first, self.flips.update[own] + 1]), torch.cat([energies[:1], energies[0] + changes])
