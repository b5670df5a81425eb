"""The base class of energy-based models whose normalizer is not known in closed form."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from danlu.models.base import Model
from danlu.models.energy.normalizer import BETAS, CHAINS, ENOUGH, LogNormalizer, NormalizerCache

Draw = Callable[[tuple[int, ...], bool], Tensor]
"""function of a shape, and whether the numbers are uniform on [0, 1) instead of normal, that returns random numbers for
all chains, (chains, *shape)"""


class EnergyModel(Model):
    r"""A distribution given by an energy, :math:`p(x) = e^{-E(x)} / Z`, trained by contrastive learning.

    The gradient of the log-likelihood is

    .. math:: \nabla \log p(x) = -\nabla E(x) + \mathbb{E}_{x' \sim p} \nabla E(x')

    and the second expectation is estimated from states of Markov chains. A model defines what the state of a chain is,
    how it moves, and a difference of energies with this gradient (``contrast``).

    The logarithm of the normalizer Z is exact for small models and otherwise an estimate by annealed importance
    sampling. It is computed when it is needed and kept until a parameter changes.

    Attributes:
        shape: shape of an example.
        state_shape: shape of the state of a chain.
        betas: numbers of inverse temperatures that ``log_normalizer`` tries.
    """

    betas: ClassVar[tuple[int, ...]] = BETAS
    shape: tuple[int, ...]
    state_shape: tuple[int, ...]

    def __init__(self) -> None:
        super().__init__()
        self._normalizers = NormalizerCache()

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset({"normalizer", "generator"})

    @property
    def remedy(self) -> str:
        """What to change if the chains do not follow the model in training."""
        return "Use a smaller lr, or more steps of the chains (steps)"

    @abstractmethod
    def energy(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
        """The energy of each example, with hidden units summed out."""

    @abstractmethod
    def observe(self, x: Float[Tensor, "n *shape"]) -> None:
        """Add training examples to the statistics of the data, the base of the normalizer's estimate.

        The first examples also set the parameters whose initial values depend on the data.

        Args:
            x: examples of the training part.
        """

    @abstractmethod
    def initial_state(self, draw: Draw, *leading: int) -> Shaped[Tensor, "n *state"]:
        """States of new chains, (n, \\*leading, \\*state_shape).

        Args:
            draw: source of the random numbers, one row for each of n.
            leading: further dimensions before those of a state.
        """

    @abstractmethod
    def contrast(
        self, x: Float[Tensor, "n *shape"], state: Shaped[Tensor, "n *state"] | None, steps: int, draw: Draw
    ) -> tuple[Float[Tensor, "n"], Shaped[Tensor, "n *state"]]:
        """Move one chain for each example, and the surrogate whose gradient is that of E(x) − E(x').

        Args:
            x: the examples.
            state: states of the chains, which are not changed; None starts each chain at its example.
            steps: number of steps of the chains.
            draw: source of the random numbers.

        Returns:
            the surrogate of each example, and the states after the steps.
        """

    @abstractmethod
    def compute_log_normalizer(self, chains: int, betas: int, seed: int) -> LogNormalizer:
        """Log Z, not cached; see ``log_normalizer``."""

    def log_normalizer(self, chains: int = CHAINS, betas: int | None = None, seed: int = 0) -> LogNormalizer:
        """Log Z: exact if the model is small enough, otherwise an estimate by annealed importance sampling.

        The same arguments give the same number. It is computed again only if a parameter has changed, and always
        without automatic mixed precision.

        Args:
            chains: number of chains of the estimate, at least 2.
            betas: number of inverse temperatures of the estimate, at least 2. By default the first of ``betas`` of the
                model with which the effective sample size is at least three tenths of the chains, or the last.
            seed: random seed of the estimate.
        """
        tensors, found = (*self.parameters(), *self.buffers()), None
        for count in self.betas if betas is None else (betas,):
            compute = partial(self._normalizer, chains, count, seed)
            found = self._normalizers.get(tensors, (chains, count, seed), compute)
            if found.effective_sample_size is None or found.effective_sample_size >= ENOUGH * chains:
                break
        assert found is not None
        return found

    def _normalizer(self, chains: int, betas: int, seed: int) -> LogNormalizer:
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            found = self.compute_log_normalizer(chains, betas, seed)
        return found if found.kind == "exact" else replace(found, betas=betas)

    def log_prob(self, x: Float[Tensor, "n *shape"]) -> Float64[Tensor, "n"]:
        """The log-likelihood of each example in nats, in float64; ``log_normalizer`` tells whether it is an estimate.

        Its gradient with respect to x is right. That with respect to parameters lacks the gradient of log Z: train with
        ``danlu.tasks.Contrastive``.

        Args:
            x: the examples.
        """
        return -self.energy(x).double() - self.log_normalizer().value


def draw_from(generator: torch.Generator | None, like: Tensor, n: int) -> Draw:
    """A source of random numbers for n chains.

    Args:
        generator: the generator; None means torch's default generator.
        like: a tensor with the device and the data type of the numbers.
        n: number of chains.

    >>> draw_from(torch.Generator(), torch.zeros(1), 3)((2,), True).shape
    torch.Size([3, 2])
    """

    def draw(shape: tuple[int, ...], uniform: bool) -> Tensor:
        numbers = torch.rand if uniform else torch.randn
        return numbers(n, *shape, generator=generator, device=like.device, dtype=like.dtype)

    return draw
