"""The path of annealed importance sampling of a deep energy model, and its estimate of the normalizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.models.energy.deep.spaces import Space
from danlu.models.energy.normalizer import LogNormalizer, estimated, temperatures
from danlu.sampling.mcmc.annealed import annealed_importance_sampling
from danlu.sampling.mcmc.importance import Distribution
from danlu.sampling.mcmc.langevin import MALA

STEP_SIZES = (0.8, 0.25, 0.08)
"""step sizes, one after the other: a density is wide for small inverse temperatures, and can have narrow parts"""


class Path:
    r"""Densities from the base q (β = 0) to the model (β = 1): log f_β(u) = log q(u) + β log(Z_q exp(−f(u))).

    Args:
        network: function f of coordinates (n, ...) to (n,).
        space: the coordinates and the base.
        shape: shape of an example.
        like: a tensor with the device and the data type of the coordinates.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], space: Space, shape: Sequence[int], like: Tensor):
        self.network, self.space, self.shape, self.like = network, space, tuple(shape), like
        self.step_sizes = cycle(STEP_SIZES)
        self.base_log_z = space.base_log_z(torch.Size(shape).numel())
        self._states: Tensor | None = None
        self._outputs: Tensor | None = None

    def base(self) -> Distribution:
        """The base distribution."""

        def sample(n: int, generator: torch.Generator) -> Tensor:
            numbers = torch.rand if self.space.uniform else torch.randn
            noise = numbers(n, *self.shape, generator=generator, device=generator.device)
            return self.space.base_sample(noise.to(self.like))

        return Distribution(lambda u: self.log_density(u, 0.0), sample)

    def log_density(self, u: Float[Tensor, "n *shape"], beta: float) -> Float[Tensor, "n"]:
        """The logarithm of the density at an inverse temperature.

        Args:
            u: coordinates of the chains.
            beta: inverse temperature.
        """
        point = self.space.confine(u)
        return -self.space.base_energy(point) - (1 - beta) * self.base_log_z - beta * self._output(u, point)

    def kernel(self, beta: float) -> MALA:
        """A Metropolis-adjusted Langevin step with the next of ``STEP_SIZES``.

        Args:
            beta: inverse temperature.
        """
        step_size = next(self.step_sizes)
        return MALA(lambda u: self.log_density(u, beta), step_size, gradient_clip=2 / step_size)

    def _output(self, u: Tensor, point: Tensor) -> Tensor:
        """f, kept for the last states: both densities of a weight need it."""
        if u.requires_grad:
            return self.network(point)
        if self._outputs is None or self._states is None or self._states.data_ptr() != u.data_ptr():
            self._states, self._outputs = u, self.network(point)  # the states are kept, so their address stays theirs
        return self._outputs


def annealed_log_z(path: Path, chains: int, betas: int, seed: int) -> LogNormalizer:
    """The logarithm of the integral of the density at β = 1 over u, by annealed importance sampling.

    Args:
        path: the path.
        chains: number of chains.
        betas: number of inverse temperatures.
        seed: random seed.
    """
    grid = temperatures(betas)
    return estimated(annealed_importance_sampling(path.base(), path.log_density, path.kernel, grid, chains, seed))
