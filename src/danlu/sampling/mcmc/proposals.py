"""Symmetric proposals for Metropolis–Hastings sampling: a random walk, and the change of one site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from danlu.sampling.mcmc.checks import check_per_chain, check_positive, per_chain
from danlu.sampling.mcmc.metropolis import Candidate
from danlu.sampling.mcmc.site_values import check_sites, check_values, values_of


@dataclass(frozen=True)
class NormalWalk:
    """A random walk with normal steps, for continuous states: x' = x + scale · ξ with ξ from N(0, 1).

    Metropolis et al., "Equation of state calculations by fast computing machines", 1953, proposed uniform steps. An
    acceptance rate near 0.23 in many dimensions, and 0.44 in one, is efficient (Roberts, Gelman and Gilks, 1997).

    Args:
        scale: standard deviation of a step in each dimension; a tensor (chains,) has one for each chain.

    Raises:
        ValueError: if the scale is not positive and finite.

    >>> from danlu.rng import generator
    >>> NormalWalk(0.1)(torch.zeros(2, 3), generator(0)).x.shape
    torch.Size([2, 3])
    """

    scale: float | Tensor

    def __post_init__(self) -> None:
        check_positive("scale", self.scale)

    def check(self, x: Shaped[Tensor, "chains *shape"]) -> None:
        """Raise a ValueError if the states are not floating-point numbers or there is not one scale for each chain.

        Args:
            x: values of the chains.
        """
        if not x.is_floating_point():
            raise ValueError(f"start has dtype {x.dtype}; a walk with normal steps needs floating-point numbers")
        check_per_chain("scale", self.scale, x)

    def __call__(self, x: Shaped[Tensor, "chains *shape"], generator: torch.Generator) -> Candidate:
        """The candidate of each chain.

        Args:
            x: values of the chains.
            generator: source of the random numbers.
        """
        return Candidate(x + torch.empty_like(x).normal_(generator=generator) * per_chain(self.scale, x))


@dataclass(frozen=True)
class SiteFlip:
    """A change of one random site of each chain to another of its values, for discrete states.

    All sites, and all other values, are equally probable.

    Args:
        values: the values of each site, at least 2.

    Raises:
        ValueError: if there are not at least 2 different values.

    >>> from danlu.rng import generator
    >>> SiteFlip()(torch.ones(4, 3), generator(0)).x.sum(1)
    tensor([1., 1., 1., 1.])
    """

    values: Sequence[int | float] = (-1, 1)

    def __post_init__(self) -> None:
        check_values(self.values)

    def check(self, x: Shaped[Tensor, "chains *shape"]) -> None:
        """Raise a ValueError if a state has another value.

        Args:
            x: values of the chains.
        """
        check_sites(self.values, x)

    def __call__(self, x: Shaped[Tensor, "chains *shape"], generator: torch.Generator) -> Candidate:
        """The candidate of each chain.

        Args:
            x: values of the chains.
            generator: source of the random numbers.
        """
        changed = x.clone(memory_format=torch.contiguous_format)
        flat, values = changed.view(len(x), -1), values_of(self.values, x)
        site = torch.randint(flat.shape[1], (len(x), 1), generator=generator, device=x.device)
        number = (flat.gather(1, site) == values).int().argmax(1, keepdim=True)
        by = torch.randint(1, len(values), (len(x), 1), generator=generator, device=x.device)
        flat.scatter_(1, site, values[(number + by) % len(values)])
        return Candidate(changed)
