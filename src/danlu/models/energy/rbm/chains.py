"""Markov chains of a restricted Boltzmann machine: steps of the hidden, then of the visible units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.models.energy.energy_model import Draw
from danlu.models.energy.rbm.visible_units import Evidence

if TYPE_CHECKING:
    from danlu.models.energy.rbm.machine import RBM


class RBMChains:
    """Steps of many chains with given random numbers.

    Args:
        model: the machine.
        draw: source of the random numbers of all chains.
    """

    def __init__(self, model: RBM, draw: Draw):
        self.model, self.units, self.draw = model, model.units, draw

    def hidden(self, probability: Float[Tensor, "n hidden"]) -> Float[Tensor, "n hidden"]:
        """Hidden units with these probabilities of 1.

        Args:
            probability: the probabilities.
        """
        return (self.draw(self.model.state_shape, True) < probability).to(probability.dtype)

    def visible(
        self, h: Float[Tensor, "n hidden"], beta: float = 1.0, evidence: Evidence | None = None
    ) -> Float[Tensor, "n v"]:
        """Visible units given the hidden ones.

        Args:
            h: the hidden units.
            beta: inverse temperature.
            evidence: observed values.
        """
        noise = self.draw((len(self.model.weight),), self.units.uniform)
        return self.units.sample(h @ self.model.weight.T, noise, beta, evidence)

    @torch.no_grad()
    def visible_after(self, h: Float[Tensor, "n hidden"], steps: int) -> Float[Tensor, "n v"]:
        """The visible units after some steps that start at hidden units.

        Args:
            h: the hidden units.
            steps: number of times that the visible units are drawn.
        """
        for _ in range(steps - 1):
            h = self.hidden(self.model.fields(self.visible(h)).sigmoid())
        return self.visible(h)

    def annealed(
        self, n: int, sweeps: int, evidence: Evidence | None = None
    ) -> tuple[Float[Tensor, "n v"], Float[Tensor, "n v"]]:
        """Visible units after steps from the base distribution, and the mean of their conditional means.

        In the first half of the steps the inverse temperature rises to 1; the mean is over the second half.

        Args:
            n: number of chains.
            sweeps: number of steps.
            evidence: observed values; the means are needed, and computed, only with them.
        """
        v = self._start(n, evidence)
        total = torch.zeros_like(v)
        for step in range(1, sweeps + 1):
            beta = min(1.0, 2 * step / sweeps)
            h = self.hidden((beta * self.model.fields(v)).sigmoid())
            v = self.visible(h, beta, evidence)
            if evidence is not None and beta == 1:
                total += self.units.mean(h @ self.model.weight.T, 1.0, evidence)
        return v, total / (sweeps - (sweeps - 1) // 2)

    def trace(self, n: int, steps: Sequence[int]) -> Float[Tensor, "n shown v"]:
        """Conditional means of the visible units after some numbers of steps at inverse temperature 1.

        Args:
            n: number of chains.
            steps: the numbers of steps; after 0 of them, the state at the start.
        """
        v = self._start(n, None)
        shown = {0: v}
        for step in range(1, max(steps) + 1):
            h = self.hidden(self.model.fields(v).sigmoid())
            v = self.visible(h)
            if step in steps:
                shown[step] = self.units.mean(h @ self.model.weight.T)
        return torch.stack([shown[step] for step in steps], 1)

    def _start(self, n: int, evidence: Evidence | None) -> Tensor:
        """Visible units of the base distribution."""
        return self.visible(self.model.bias.new_zeros(n, len(self.model.bias)), 0.0, evidence)
