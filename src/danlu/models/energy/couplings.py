"""The classic Hopfield network: pairwise couplings of binary units."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from danlu.models.energy.asynchronous import FlipLog, sweep
from danlu.models.energy.recall_trace import Step
from danlu.models.energy.storage_rules import ExactCouplings, StorageName, store_patterns
from danlu.rng.keys import generator


class Couplings(nn.Module):
    r"""Binary units :math:`s \in \{-1, 1\}^N` with energy

    .. math:: E(s) = -\tfrac 1 2 s^\top W s

    for symmetric couplings W with zero diagonal. Hopfield, "Neural networks and physical systems with emergent
    collective computational abilities", 1982, equation 7.

    The couplings are whole numbers times a unit (``storage_rules``). They are parameters without a gradient: no
    optimizer changes them.

    Args:
        patterns: number of patterns; a pattern of zeros is an unused place.
        units: number N of units.
        rule: how patterns are stored: hebbian or pseudo-inverse.

    >>> memory = Couplings(patterns=1, units=4)
    >>> memory.store(torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
    >>> memory.energy(torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]]))
    tensor([-1.5000,  0.5000], dtype=torch.float64)
    """

    unit: Float64[Tensor, ""]
    patterns: Float[Tensor, "patterns units"]

    def __init__(self, patterns: int, units: int, rule: StorageName = "hebbian"):
        super().__init__()
        self.rule: StorageName = rule
        self.register_buffer("patterns", torch.zeros(patterns, units, dtype=torch.float64))
        self.weights = nn.Parameter(torch.zeros(units, units, dtype=torch.float64), requires_grad=False)
        self.register_buffer("unit", torch.ones((), dtype=torch.float64))

    @property
    def stored(self) -> Float[Tensor, "stored units"]:
        """The patterns in the used places."""
        return self.patterns[self.patterns.any(1)]

    @torch.no_grad()
    def store(self, patterns: Float[Tensor, "patterns units"]) -> None:
        """Replace the patterns and compute the couplings. A pattern of zeros is an unused place.

        Raises:
            ValueError: if the rule cannot store them; the old ones are then kept.
        """
        new = patterns.any(1) & ~self.patterns.any(1)
        kept = torch.equal(patterns[~new].to(self.patterns.dtype), self.patterns[~new])
        if self.rule == "hebbian" and self.patterns.any() and kept:  # a sum over patterns: only the new ones are added
            couplings = store_patterns(patterns[new], self.rule)
            couplings.weights.add_(self.weights)
        else:
            couplings = store_patterns(patterns[patterns.any(1)], self.rule)
        self.patterns.copy_(patterns)
        self.set_couplings(couplings)

    @torch.no_grad()
    def set_couplings(self, couplings: ExactCouplings) -> None:
        """Replace the couplings."""
        self.weights.copy_(couplings.weights)
        self.unit.fill_(couplings.unit)

    def forward(self, states: Float[Tensor, "n units"]) -> Float[Tensor, "n units"]:
        """The field of every unit, W s, in multiples of the unit of the couplings."""
        return states.to(self.weights.dtype) @ self.weights

    def energy(self, states: Float[Tensor, "n units"]) -> Float64[Tensor, "n"]:
        """The energy of each state."""
        states = states.to(self.weights.dtype)
        return -0.5 * self.unit.double() * (states * self(states)).sum(1, dtype=torch.float64)

    def asynchronous(
        self, states: Float[Tensor, "n units"], steps: int, seed: int, log: FlipLog | None = None
    ) -> Iterator[Step]:
        """Sweeps over all units, each in another random order, until no unit changes.

        The order depends on seed and sweep only, so a state ends the same alone and among others.

        Args:
            states: the states at the beginning.
            steps: largest number of sweeps.
            seed: seed of the orders.
            log: gets every change of a unit.

        Yields:
            The states after each sweep; all have the same tensor.
        """
        weights, states = self.weights.detach(), states.to(self.weights.dtype).clone()
        fields = states @ weights
        for number in range(steps):
            order = torch.randperm(states.shape[1], generator=generator("recall", seed, number)).to(states.device)
            if log is not None:
                log.sweep = number
            sweep(states, fields, weights, order, log)
            stable = (states * fields >= 0).all(1)
            yield Step(states, stable.long())
            if stable.all():
                return

    def synchronous(self, states: Float[Tensor, "n units"], steps: int) -> Iterator[Step]:
        r"""Updates of all units at once, until every state is a fixed point or in a cycle of length 2.

        With symmetric couplings there are no other ends: :math:`-s(t)^\top W s(t-1)` never rises. Goles, Fogelman and
        Pellegrin, "Decreasing energy functions as a tool for studying threshold networks", 1985.

        Args:
            states: the states at the beginning.
            steps: largest number of updates.

        Yields:
            The states after each update.
        """
        before, states = None, states.to(self.weights.dtype)
        for _ in range(steps):
            fields = self(states)
            after = torch.where(fields == 0, states, fields.sign())
            fixed = (after == states).all(1)
            cycle = torch.zeros_like(fixed) if before is None else (after == before).all(1) & ~fixed
            yield Step(after, fixed.long() + 2 * cycle.long())
            if (fixed | cycle).all():
                return
            before, states = states, after
