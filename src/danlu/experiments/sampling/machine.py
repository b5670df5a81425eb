"""A small Boltzmann machine of units −1 and 1 with random couplings and a stored pattern."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.experiments.sampling.exact_chains import sign_states
from danlu.rng.keys import generator
from danlu.sampling.mcmc.gibbs import Gibbs, Site

UNITS = 8
SPREAD = 0.3  # standard deviation of the random couplings
ODDS = 4.0  # of the two modes of a stored pattern


class Machine(NamedTuple):
    """A Boltzmann machine, log p(x) = x'Wx / 2 + b'x + constant.

    Attributes:
        weight: symmetric couplings W with zero diagonal, (units, units).
        bias: biases b, (units,).
        pattern: the stored pattern, (units,).
    """

    weight: Float[Tensor, "units units"]
    bias: Float[Tensor, "units"]
    pattern: Float[Tensor, "units"]

    def log_density(self, x: Float[Tensor, "n units"]) -> Float[Tensor, "n"]:
        """The logarithm of the unnormalized probability.

        Args:
            x: states.
        """
        return (x @ self.weight * x).sum(1) / 2 + x @ self.bias

    def field(self, x: Float[Tensor, "n units"], site: Site) -> Float[Tensor, "n"]:
        """The log-odds of 1 against −1 for a unit given the others.

        Args:
            x: states.
            site: the unit.
        """
        return 2 * ((x * self.weight[site]).sum(1) + self.bias[site])

    def kernel(self) -> Gibbs:
        """Gibbs sampling in the order of the units."""
        return Gibbs(self.log_density, conditional=self.field)

    def probabilities(self) -> Float[Tensor, "states"]:
        """The probabilities of all states."""
        return self.log_density(sign_states(UNITS)).softmax(0)


def machine(coupling: float, seed: int) -> Machine:
    """Random couplings, a stored random pattern, and a bias toward it.

    Args:
        coupling: J of the stored pattern ξ, which adds J ξ ξᵀ / N to the couplings.
        seed: random seed; machines with the same seed differ in J alone.

    >>> one = machine(4.0, seed=0)
    >>> both = one.log_density(torch.stack([one.pattern, -one.pattern]))
    >>> round(float((both[0] - both[1]).exp()), 6)
    4.0
    """
    source = generator("machine", seed)
    half = SPREAD * torch.randn(UNITS, UNITS, generator=source, dtype=torch.float64).triu(1)
    pattern = torch.randint(0, 2, (UNITS,), generator=source).double() * 2 - 1
    stored = coupling / UNITS * (torch.outer(pattern, pattern) - torch.eye(UNITS, dtype=torch.float64))
    return Machine(half + half.T + stored, math.log(ODDS) / (2 * UNITS) * pattern, pattern)
