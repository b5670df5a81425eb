r"""Asynchronous updates of binary units: one unit after the other, in a given order.

A unit gets the sign of its field :math:`h_i = \sum_j W_{ij} s_j`, and keeps its value if the field is 0. The fields are
kept: a unit that changes adds one row of W to them, which takes O(N) operations. A unit that does not change takes
none. Two procedures give the same states, because all sums are exact (``storage_rules``):

* few changes: each state goes from one unit that changes to the next, in blocks of units;
* many changes: all states go through a block of units together. Inside a block, only the fields of its units are kept;
  after it, one matrix product updates all fields.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from danlu.models.energy.recall_trace import Flips

BLOCK = 32
"""units of a block"""
FEW = 20.0
"""changes per unit, over all states, below which each state is updated alone on a CPU"""


class FlipLog:
    """Collects the changes of units."""

    def __init__(self) -> None:
        self.sweep = 0
        self._rows: list[Flips] = []

    def add(self, state: Tensor, update: Tensor, unit: Tensor, change: Tensor) -> None:
        """Add changes, ordered by update for each state; the number of an update counts all sweeps."""
        self._rows.append(Flips(state, update, unit, change))

    def flips(self, unit: Float64[Tensor, ""]) -> Flips:
        """All changes so far; those of a state are in the order of its updates.

        Args:
            unit: the unit of the weights, by which the changes of the energy are multiplied.
        """
        none = torch.zeros(0, dtype=torch.long, device=unit.device)
        rows = self._rows or [Flips(none, none, none, none.double())]
        flips = Flips(*map(torch.cat, zip(*rows, strict=True)))
        return flips._replace(change=flips.change * unit)


def sweep(
    states: Float[Tensor, "n units"],
    fields: Float[Tensor, "n units"],
    weights: Float[Tensor, "units units"],
    order: Int[Tensor, "units"],
    log: FlipLog | None = None,
) -> None:
    """Update every unit of every state once, in place.

    Args:
        states: the states, values −1 and 1.
        fields: their fields, ``states @ weights``.
        weights: whole numbers, symmetric, with zero diagonal.
        order: the order of the units.
        log: gets every change, with the change of the energy in units of the weights.

    >>> states, weights = torch.tensor([[1.0, -1.0, 1.0]]), torch.ones(3, 3) - torch.eye(3)
    >>> fields = states @ weights
    >>> sweep(states, fields, weights, torch.tensor([1, 0, 2]))
    >>> states, fields
    (tensor([[1., 1., 1.]]), tensor([[2., 2., 2.]]))
    """
    unstable = states * fields < 0
    if not unstable.any():
        return
    if states.device.type == "cpu" and int(unstable.sum()) < FEW * len(order):
        for number in unstable.any(1).nonzero()[:, 0].tolist():
            _sweep_alone(number, states, fields, weights, order, log)
    else:
        _sweep_together(states, fields, weights, order, log)


def _sweep_alone(
    number: int, states: Tensor, fields: Tensor, weights: Tensor, order: Tensor, log: FlipLog | None
) -> None:
    """Update one state, with numpy: a call takes less time than one of torch, and the vectors are short.

    Half of the fields is kept, because a unit that changes by 2 then adds or subtracts a row without a product.
    """
    state, couplings, units = states[number].numpy(), weights.numpy(), order.numpy()
    half = fields[number].numpy()
    half *= 0.5
    changes: list[tuple[int, int, float]] = []
    for start in range(0, len(units), BLOCK):
        block = units[start : start + BLOCK]
        signs, stability = state[block], ()
        for place, unit in enumerate(block.tolist()):
            if not len(stability):  # at the begin of a block, and after a change
                stability = (signs * half[block]).tolist()
            if stability[place] >= 0:
                continue
            if log is not None:
                changes.append((start + place, unit, 4 * stability[place]))
            if state[unit] > 0:
                half -= couplings[unit]
            else:
                half += couplings[unit]
            state[unit] = -state[unit]
            stability = ()
    half *= 2
    if log is not None and changes:
        places, changed, energies = zip(*changes, strict=True)
        update = torch.tensor(places) + log.sweep * len(units)
        log.add(
            torch.full_like(update, number), update, torch.tensor(changed), torch.tensor(energies, dtype=torch.float64)
        )


def _sweep_together(states: Tensor, fields: Tensor, weights: Tensor, order: Tensor, log: FlipLog | None) -> None:
    """Update all states in blocks of units. The tensors of a block have the units first."""
    for start in range(0, len(order), BLOCK):
        units = order[start : start + BLOCK]
        signs, local = states[:, units].T.contiguous(), fields[:, units].T.contiguous()
        if not (signs * local < 0).any():
            continue
        rows = weights[units]
        between, added, changes = rows[:, units], torch.zeros_like(signs), torch.zeros_like(signs)
        for k in range(len(units)):
            stability = signs[k] * local[k]
            added[k] = torch.where(stability < 0, -2 * signs[k], 0)
            changes[k] = torch.where(stability < 0, 2 * stability, 0)
            local.addr_(between[k], added[k])
        states[:, units] += added.T
        fields.addmm_(added.T, rows)
        if log is not None:
            number, place = changes.T.nonzero(as_tuple=True)
            update = place + start + log.sweep * len(order)
            log.add(number, update, units[place], changes.T[number, place].double())
