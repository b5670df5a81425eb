"""Gibbs sampling of single sites: each is drawn from its distribution given all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from danlu.errors import RunError
from danlu.sampling.mcmc.checks import check_log_density, check_shape
from danlu.sampling.mcmc.kernel import ChainState, Kernel, LogDensity
from danlu.sampling.mcmc.site_values import check_sites, check_values, values_of

Site = int | Tensor
"""one site for all chains, or one per chain, (chains,)"""
Conditional = Callable[[Tensor, Site], Tensor]
"""function from states (chains, ...) and a site to its logits (chains, values), or with two values to the log-odds of
the second, (chains,)"""
Scan = Literal["systematic", "random"]


class Gibbs(Kernel):
    r"""Gibbs sampling of single sites with discrete values. A step is a sweep, as many updates as there are sites.

    .. math:: P(x_i = v \mid x_{-i}) = \frac{p(x_{-i}, x_i = v)}{\sum_{v'} p(x_{-i}, x_i = v')}

    Geman and Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images", 1984. Without
    a conditional, each update evaluates the log-density once for each value. Values of probability 0 are excluded by
    the log-density −∞.

    Args:
        log_density: logarithm of the unnormalized probability.
        values: the values of each site, at least 2.
        scan: "systematic" updates the sites in their order, all chains the same site; "random" updates a random site of
            each chain each time. A random scan satisfies detailed balance; a systematic scan only leaves the density
            invariant, and usually mixes faster.
        conditional: logits of a site given the others, if they are simpler than the log-density. With a systematic scan
            the site is an int, with a random scan it is a tensor (chains,). In both cases
            ``(x * weight[site]).sum(1)`` is the field at the site. Infinite log-odds clamp a site of one chain.
        sites: the sites to update, as indices into the flattened state; the others are clamped. None means all.

    Raises:
        ValueError: if a setting is not allowed, a state has a value that is not in ``values``, the log-density is not
            finite at the start, or ``conditional`` returns another shape.
        RunError: if the logits of a site are NaN or no value has a probability above 0.

    >>> weight = torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # E(x) = -x'Wx / 2
    >>> pair = lambda x: (x @ weight * x).sum(1) / 2
    >>> field = lambda x, site: 2 * (x * weight[site]).sum(1)  # log-odds of 1 against -1
    >>> kernel, fast = Gibbs(pair), Gibbs(pair, conditional=field)
    >>> x = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    >>> kernel.logits(x, 0).diff(dim=1).squeeze(1), fast.conditional(x, 0)
    (tensor([-2.,  2.]), tensor([-2.,  2.]))
    """

    def __init__(
        self,
        log_density: LogDensity,
        values: Sequence[int | float] = (-1, 1),
        scan: Scan = "systematic",
        conditional: Conditional | None = None,
        sites: Sequence[int] | None = None,
    ):
        check_values(values)
        if scan not in ("systematic", "random"):
            raise ValueError(f"scan={scan!r} must be 'systematic' or 'random'")
        if sites is not None and (not len(sites) or len(set(sites)) < len(sites)):
            raise ValueError(f"sites={tuple(sites)} must be at least 1 site, each at most once")
        self.log_density, self.values, self.scan = log_density, tuple(values), scan
        self.conditional, self.sites = conditional, None if sites is None else tuple(sites)

    def check(self, x: Shaped[Tensor, "chains *shape"]) -> None:
        check_sites(self.values, x)
        count = x[0].numel()
        outside = [site for site in self.sites or () if not 0 <= site < count]
        if outside:
            raise ValueError(f"site {outside[0]} must be from 0 to {count - 1}")
        check_log_density(self.log_density, x)

    @torch.no_grad()
    def step(self, state: ChainState, generator: torch.Generator) -> ChainState:
        x = state.x.clone(memory_format=torch.contiguous_format)
        flat = x.view(len(x), -1)  # shares the memory of x, which the log-density and the conditional receive
        values = values_of(self.values, x)
        undefined = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for site in self._order(flat, generator):
            logits = self._conditional(x, site)
            undefined |= logits.isnan() if logits.ndim == 1 else _without_distribution(logits)
            _set(flat, site, _draw(logits, values, generator))
        if bool(undefined.any()):
            chain = int(undefined.int().argmax())
            raise RunError(f"chain {chain}: a site has no distribution, because its logits are NaN or all -inf")
        return self.state(x)

    @torch.no_grad()
    def logits(self, x: Shaped[Tensor, "chains *shape"], site: int | Int[Tensor, "chains"]) -> Float[Tensor, "c v"]:
        """The logarithm of the unnormalized probability of each value of a site given the others, (chains, values).

        Args:
            x: values of the chains.
            site: one site, or one for each chain.
        """
        if self.conditional is None:
            return torch.stack([self._log_density_with(x, site, value) for value in self.values], 1)
        logits = self._conditional(x, site)
        return torch.stack([torch.zeros_like(logits), logits], 1) if logits.ndim == 1 else logits

    def _conditional(self, x: Tensor, site: Site) -> Tensor:
        """The log-odds (chains,) of the second of two values, or the logits (chains, values) of more values."""
        binary = len(self.values) == 2
        if self.conditional is None:
            logits = self.logits(x, site)
            return logits[:, 1] - logits[:, 0] if binary else logits
        logits = self.conditional(x, site)
        check_shape("the conditional", logits, (len(x),) if binary else (len(x), len(self.values)))
        return logits

    def _log_density_with(self, x: Tensor, site: Site, value: int | float) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        _set(x.view(len(x), -1), site, torch.full((len(x),), value, dtype=x.dtype, device=x.device))
        return self.log_density(x)

    def _order(self, flat: Tensor, generator: torch.Generator) -> Sequence[Site]:
        """The sites of the updates of a sweep."""
        sites = range(flat.shape[1]) if self.sites is None else self.sites
        if self.scan == "systematic":
            return sites
        index = torch.randint(len(sites), (len(sites), len(flat)), generator=generator, device=flat.device)
        return (index if self.sites is None else torch.tensor(sites, device=flat.device)[index]).unbind(0)


def _set(flat: Tensor, site: Site, values: Tensor) -> None:
    """Assign the values of a site, in place."""
    if isinstance(site, Tensor):
        flat.scatter_(1, site[:, None], values[:, None])
    else:
        flat[:, site] = values


def _without_distribution(logits: Tensor) -> Tensor:
    """Which rows have a NaN, or no finite maximum."""
    return ~logits.amax(1).isfinite()  # the maximum of a row with NaN is NaN


def _draw(logits: Tensor, values: Tensor, generator: torch.Generator) -> Tensor:
    """Values with these log-odds (chains,) of the second value, or logits (chains, values)."""
    if logits.ndim == 1:
        uniform = torch.empty_like(logits).uniform_(generator=generator)
        return torch.where(uniform < logits.sigmoid(), values[1], values[0])
    # of exponential variables with rates p_v, number v is the smallest with probability p_v / sum p
    waiting = torch.empty_like(logits).exponential_(generator=generator)
    return values[(logits - waiting.log()).argmax(1)]
