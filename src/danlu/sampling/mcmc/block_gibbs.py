"""Gibbs sampling of blocks: each block is drawn from its distribution given all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

from danlu.sampling.mcmc.checks import check_shape
from danlu.sampling.mcmc.kernel import ChainState, Kernel

BlockSampler = Callable[[Tensor, torch.Generator], Tensor]
"""function that draws one block given the others: states (chains, ...) and a generator to new states (chains, ...)"""


class BlockGibbs(Kernel):
    """Gibbs sampling of blocks: a step draws each block in turn from its distribution given the others.

    The samplers know the conditional distributions; no log-density is needed. A sampler can also draw auxiliary
    variables that are not part of the state, such as the hidden units of a restricted Boltzmann machine whose state is
    its visible units.

    Args:
        samplers: for each block, a function of the states (chains, ...) and a generator. It returns the states, with
            the same shape and dtype, in which the block is drawn given the others. It must not change its argument.

    Raises:
        ValueError: if there is no sampler, or a sampler returns another shape or dtype.

    >>> from danlu.rng import generator
    >>> coin = lambda x, g: torch.cat([torch.rand(len(x), 1, generator=g), x[:, 1:]], 1)  # the first block: x_0
    >>> copy = lambda x, g: torch.cat([x[:, :1], x[:, :1]], 1)  # the second block: x_1 equals x_0
    >>> kernel = BlockGibbs([coin, copy])
    >>> x = kernel.step(kernel.start(torch.zeros(5, 2)), generator(0)).x
    >>> bool((x[:, 0] == x[:, 1]).all())
    True
    """

    def __init__(self, samplers: Sequence[BlockSampler]):
        if not samplers:
            raise ValueError("samplers is empty; give one sampler for each block")
        self.samplers = tuple(samplers)

    def check(self, x: Shaped[Tensor, "chains *shape"]) -> None:
        del x  # there is no density to evaluate

    @torch.no_grad()
    def step(self, state: ChainState, generator: torch.Generator) -> ChainState:
        x = state.x
        for block, sampler in enumerate(self.samplers):
            drawn = sampler(x, generator)
            check_shape(f"the result of sampler {block}", drawn, tuple(x.shape))
            if drawn.dtype != x.dtype:
                raise ValueError(f"the result of sampler {block} has dtype {drawn.dtype}, must be {x.dtype}")
            x = drawn
        return self.state(x)
