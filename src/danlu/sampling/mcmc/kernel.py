"""Transition kernels: the interface of all samplers, and the state of the chains.

A kernel moves many chains at once by one step of a Markov chain. It is built from its target, a function that returns
the logarithm of an unnormalized density for each chain. All random numbers come from the generator that ``step``
receives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

LogDensity = Callable[[Tensor], Tensor]
"""logarithm of an unnormalized density: states (chains, ...) to (chains,). Of an energy E it is −E. Kernels call it
with all chains in their order, so it can have parameters that differ between chains."""


class ChainState(NamedTuple):
    """The state of many chains after a step: plain tensors.

    Attributes:
        x: states of the chains, (chains, ...).
        cache: values at ``x`` that the next step needs, such as log-densities; ``Kernel.start`` computes them.
        acceptance: acceptance rate of each chain in the last step, from 0 to 1, (chains,).
        swaps: acceptance rate of each swap of neighboring temperatures in the last step, (chains, pairs); no pairs
            unless the kernel is parallel tempering.
    """

    x: Tensor
    cache: tuple[Tensor, ...]
    acceptance: Tensor
    swaps: Tensor


class Kernel(ABC):
    """A transition of a Markov chain that leaves a density invariant, for many chains at once.

    ``start`` makes the state of the chains from their values. Call it again if the density changes, for example after
    an optimizer step: only ``ChainState.x`` must be kept. Gradients of parameters are not computed.

    >>> from danlu.rng import generator
    >>> from danlu.sampling import MALA
    >>> kernel = MALA(lambda x: -x.square().sum(1) / 2, step_size=0.5)
    >>> state = kernel.start(torch.zeros(3, 2))
    >>> for step in range(10):
    ...     state = kernel.step(state, generator("chains", 0, step))
    >>> state.x.shape
    torch.Size([3, 2])
    """

    @torch.no_grad()
    def start(self, x: Shaped[Tensor, "chains *shape"]) -> ChainState:
        """The state of chains that start at the given values.

        Args:
            x: values, (chains, ...).

        Raises:
            ValueError: if there is no chain, or the kernel does not fit the values.
        """
        if not x.ndim or not len(x):
            raise ValueError(f"start has shape {tuple(x.shape)}; it must be (chains, ...) with at least 1 chain")
        x = x.detach()
        self.check(x)
        return self.state(x, self.cache(x))

    @abstractmethod
    def check(self, x: Shaped[Tensor, "chains *shape"]) -> None:
        """Raise a ValueError if chains cannot start at these values.

        Args:
            x: values of the chains.
        """

    def cache(self, x: Shaped[Tensor, "chains *shape"]) -> tuple[Tensor, ...]:
        """Values at x that a step needs; none by default.

        Args:
            x: values of the chains.
        """
        del x
        return ()

    @abstractmethod
    def step(self, state: ChainState, generator: torch.Generator) -> ChainState:
        """The state after one step.

        Args:
            state: the state before the step; its tensors are not changed.
            generator: source of all random numbers of the step, on the device of the state.
        """

    def kept(self, x: Shaped[Tensor, "chains *shape"]) -> Shaped[Tensor, "chains *kept"]:
        """The part of x that is distributed according to the target: all of it, except for parallel tempering.

        Args:
            x: values of the chains.
        """
        return x

    @staticmethod
    def state(
        x: Shaped[Tensor, "chains *shape"],
        cache: tuple[Tensor, ...] = (),
        acceptance: Float[Tensor, "chains"] | None = None,
        swaps: Float[Tensor, "chains pairs"] | None = None,
    ) -> ChainState:
        """A state, with the acceptance rate 1 and without swaps by default.

        Args:
            x: values of the chains.
            cache: values at x that a step needs.
            acceptance: acceptance rate of each chain.
            swaps: acceptance rates of swaps.
        """
        real = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        acceptance = torch.ones(len(x), dtype=real, device=x.device) if acceptance is None else acceptance
        return ChainState(x, cache, acceptance, acceptance.new_empty(len(x), 0) if swaps is None else swaps)
