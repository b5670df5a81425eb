"""The path of annealed importance sampling of a restricted Boltzmann machine. Salakhutdinov and Murray, "On the
quantitative analysis of deep belief networks", 2008, section 4.1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from danlu.sampling.mcmc.block_gibbs import BlockGibbs
from danlu.sampling.mcmc.importance import Distribution

if TYPE_CHECKING:
    from danlu.models.energy.rbm.machine import RBM


class RBMPath:
    r"""Densities of the visible units from the moments of the data (β = 0) to the model (β = 1).

    .. math:: \log f_\beta(v) = \log f_0(v)^{1-\beta} + \beta f(v) +
        \sum_j \log \frac{1 + e^{\beta (c_j + (\phi(v)^\top W)_j)}}{2^{1-\beta}}

    The inputs of the hidden units are computed once for each state: both densities of a weight and the next step use
    them.

    Args:
        model: the machine.
    """

    def __init__(self, model: RBM):
        self.model, self.units = model, model.units
        self.base: Distribution = self.units.base()
        self._states: Tensor | None = None
        self._key: object = None
        self._inputs: Tensor | None = None

    def log_density(self, v: Float[Tensor, "n v"], beta: float) -> Float[Tensor, "n"]:
        """The logarithm of the density at an inverse temperature.

        Args:
            v: the states.
            beta: inverse temperature.
        """
        fields = self._fields(v)
        hidden = softplus(beta * fields).sum(1) - (1 - beta) * math.log(2) * fields.shape[1]
        return self.units.log_factor(v, beta) + hidden

    def kernel(self, beta: float) -> BlockGibbs:
        """A step of Gibbs sampling: the hidden units, then the visible ones.

        Args:
            beta: inverse temperature.
        """

        def step(v: Tensor, generator: torch.Generator) -> Tensor:
            fields = self._fields(v)
            h = (torch.empty_like(fields).uniform_(generator=generator) < (beta * fields).sigmoid()).to(v.dtype)
            noise = torch.empty_like(v)
            noise = noise.uniform_(generator=generator) if self.units.uniform else noise.normal_(generator=generator)
            return self.units.sample(h @ self.model.weight.T, noise, beta)

        return BlockGibbs([step])

    def _fields(self, v: Tensor) -> Tensor:
        """The inputs of the hidden units, kept for the last states."""
        # states that are kept do not lose their address; a kernel gets the same ones in another tensor object
        key = (v.data_ptr(), v.shape, v._version)
        if self._inputs is None or key != self._key:
            self._states, self._key, self._inputs = v, key, self.model.fields(v)
        return self._inputs
