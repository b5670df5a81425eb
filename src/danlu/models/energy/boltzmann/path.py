"""The path of annealed importance sampling of a Boltzmann machine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.models.energy.boltzmann.blocks import Block
from danlu.models.energy.boltzmann.sums import log_two_cosh
from danlu.models.energy.boltzmann.sweeps import GibbsSweeps
from danlu.sampling.mcmc.block_gibbs import BlockGibbs
from danlu.sampling.mcmc.importance import Distribution


class BoltzmannPath:
    r"""Densities from independent units with the means of the data (β = 0) to the machine (β = 1).

    .. math:: \log f_\beta(s) = \tfrac \beta 2 s^\top W s + (\beta b + (1 - \beta) a)^\top s -
        (1 - \beta) \sum_i \log 2 \cosh a_i

    The last block of a sweep is independent given the other units, and it is summed out: the density is that of the
    others, and the weights vary less. A step of the chains draws this block first.

    Args:
        couplings: W, symmetric, with zero diagonal.
        bias: the biases b of the machine.
        base_bias: the biases a of the base.
        blocks: blocks of a sweep; the last one is independent.
    """

    def __init__(
        self,
        couplings: Float[Tensor, "units units"],
        bias: Float[Tensor, "units"],
        base_bias: Float[Tensor, "units"],
        blocks: Sequence[Block],
    ):
        self.couplings, self.bias, self.base_bias = couplings, bias, base_bias
        self.summed = blocks[-1].units
        self.sweeps = GibbsSweeps(couplings, [blocks[-1], *blocks[:-1]])
        self.base = Distribution(lambda s: self.log_density(s, 0.0), self._sample)
        self._states: Tensor | None = None
        self._inputs = couplings

    def log_density(self, s: Float[Tensor, "n units"], beta: float) -> Float[Tensor, "n"]:
        """The logarithm of the density of the units that are not summed out.

        Args:
            s: the states of all units; those of the summed ones have no influence.
            beta: inverse temperature.
        """
        s, inputs = self._kept(s)
        bias = self._bias(beta)
        fields = beta * inputs[:, self.summed] + bias[self.summed]
        pairs = beta / 2 * (s * inputs).sum(1) + s @ bias
        return pairs + log_two_cosh(fields).sum(1) - (1 - beta) * log_two_cosh(self.base_bias).sum()

    def kernel(self, beta: float) -> BlockGibbs:
        """A sweep over all units.

        Args:
            beta: inverse temperature.
        """
        bias = self._bias(beta)

        def step(s: Tensor, generator: torch.Generator) -> Tensor:
            return self.sweeps(s, bias, torch.empty_like(s).uniform_(generator=generator), beta)[0]

        return BlockGibbs([step])

    def _bias(self, beta: float) -> Tensor:
        return torch.lerp(self.base_bias, self.bias, beta)

    def _sample(self, n: int, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(n, len(self.bias), generator=generator, device=generator.device).to(self.bias)
        return torch.where(uniform < (2 * self.base_bias).sigmoid(), 1.0, -1.0).to(self.bias.dtype)

    def _kept(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """The states with 0 for the summed units, and their inputs W s, kept for the next density of these states."""
        if self._states is None or self._states is not s:
            kept = s.index_fill(1, self.summed, 0.0)
            self._states, self._inputs = s, torch.stack([kept, kept @ self.couplings])
        return self._inputs[0], self._inputs[1]
