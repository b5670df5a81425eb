"""Metropolis–Hastings sampling with any proposal."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from danlu.sampling.mcmc.checks import broadcastable, check_log_density, check_shape
from danlu.sampling.mcmc.kernel import ChainState, Kernel, LogDensity


class Candidate(NamedTuple):
    """A proposed state of each chain.

    Attributes:
        x: proposed values, (chains, ...).
        log_forward: log q(x' | x) of the proposal, (chains,); None for a symmetric proposal. A constant that both
            directions have in common can be left out.
        log_backward: log q(x | x') of the way back, (chains,). If it is None, ``log_forward`` is the difference
            log q(x' | x) − log q(x | x').
    """

    x: Tensor
    log_forward: Tensor | None = None
    log_backward: Tensor | None = None


Proposal = Callable[[Tensor, torch.Generator], Candidate]
"""function that proposes new states: values (chains, ...) and a generator to a candidate"""


class MetropolisHastings(Kernel):
    r"""Metropolis–Hastings sampling: proposes a new state and accepts it with a probability that leaves p invariant.

    .. math:: A(x \to x') = \min\left\{1, \frac{p(x') \, q(x \mid x')}{p(x) \, q(x' \mid x)}\right\}

    Hastings, "Monte Carlo sampling methods using Markov chains and their applications", 1970. The states can be
    discrete or continuous. A candidate whose log-density is not finite is rejected.

    Args:
        log_density: logarithm of the unnormalized density.
        proposal: function of the values (chains, ...) and a generator that returns a ``Candidate``, for instance
            ``NormalWalk`` or ``SiteFlip``. If it has a method ``check``, this is called with the values at the start.

    Raises:
        ValueError: if the log-density is not finite at the start, or a candidate has another shape or dtype.

    >>> def log_normal_walk(x, g):  # q(x' | x) is the log-normal density of x', which has the factor 1 / x'
    ...     new = x * torch.randn(len(x), generator=g).exp()
    ...     return Candidate(new, log_forward=-new.log(), log_backward=-x.log())
    >>> kernel = MetropolisHastings(lambda x: -x, log_normal_walk)  # the target is the exponential distribution
    >>> one, two = torch.tensor([1.0]), torch.tensor([2.0])
    >>> kernel.log_acceptance(kernel.start(one), Candidate(two, -two.log(), -one.log())).exp()  # 2 / e
    tensor([0.7358])
    """

    def __init__(self, log_density: LogDensity, proposal: Proposal):
        self.log_density, self.proposal = log_density, proposal

    def check(self, x: Shaped[Tensor, "chains *shape"]) -> None:
        check_log_density(self.log_density, x)
        check = getattr(self.proposal, "check", None)
        if check is not None:
            check(x)

    def cache(self, x: Shaped[Tensor, "chains *shape"]) -> tuple[Tensor, ...]:
        return (self.log_density(x),)

    @torch.no_grad()
    def step(self, state: ChainState, generator: torch.Generator) -> ChainState:
        candidate = self.proposal(state.x, generator)
        _check_candidate(candidate, state.x)
        proposed = (self.log_density(candidate.x),)
        log_ratio = self._log_ratio(state, candidate, proposed[0])
        return accept(state, candidate.x, proposed, log_ratio, generator)

    @torch.no_grad()
    def log_acceptance(self, state: ChainState, candidate: Candidate) -> Float[Tensor, "chains"]:
        """The logarithm of the probability with which each chain accepts a candidate.

        Args:
            state: the state before the step.
            candidate: the candidates.
        """
        _check_candidate(candidate, state.x)
        proposed = self.log_density(candidate.x)
        log_ratio = self._log_ratio(state, candidate, proposed)
        return torch.where(_acceptable(proposed, log_ratio), log_ratio.clamp(max=0), -torch.inf)

    def _log_ratio(self, state: ChainState, candidate: Candidate, proposed: Tensor) -> Tensor:
        """The logarithm of p(x') q(x | x') / (p(x) q(x' | x))."""
        log_ratio = proposed - state.cache[0]
        if candidate.log_forward is not None:
            log_ratio = log_ratio - candidate.log_forward
        return log_ratio if candidate.log_backward is None else log_ratio + candidate.log_backward


def accept(
    state: ChainState,
    x: Shaped[Tensor, "chains *shape"],
    cache: tuple[Tensor, ...],
    log_ratio: Float[Tensor, "chains"],
    generator: torch.Generator,
) -> ChainState:
    """The next state: the candidate of each chain with probability min(1, ratio), else the previous state.

    Args:
        state: the state before the step.
        x: the candidates.
        cache: the cache at the candidates; the first is the log-density.
        log_ratio: logarithm of the acceptance ratio.
        generator: source of the random numbers.
    """
    return accept_where(state, x, cache, log_ratio, torch.empty_like(log_ratio).uniform_(generator=generator))


def accept_where(
    state: ChainState,
    x: Shaped[Tensor, "chains *shape"],
    cache: tuple[Tensor, ...],
    log_ratio: Float[Tensor, "chains"],
    uniform: Float[Tensor, "chains"],
) -> ChainState:
    """As ``accept``, with given random numbers.

    Args:
        state: the state before the step.
        x: the candidates.
        cache: the cache at the candidates; the first is the log-density.
        log_ratio: logarithm of the acceptance ratio.
        uniform: random numbers from [0, 1).
    """
    accepted = (uniform.log() < log_ratio) & _acceptable(cache[0], log_ratio)
    chosen = [
        torch.where(broadcastable(accepted, new), new, old)
        for new, old in zip((x, *cache), (state.x, *state.cache), strict=True)
    ]
    return Kernel.state(chosen[0], tuple(chosen[1:]), accepted.to(log_ratio.dtype))


def _acceptable(proposed: Float[Tensor, "chains"], log_ratio: Float[Tensor, "chains"]) -> Bool[Tensor, "chains"]:
    """Whether the log-density of a candidate is finite and its acceptance ratio is a number."""
    return proposed.isfinite() & ~log_ratio.isnan()


def _check_candidate(candidate: Candidate, x: Tensor) -> None:
    """Raise a ValueError if a proposal returned another shape or dtype."""
    check_shape("the candidate of the proposal", candidate.x, tuple(x.shape))
    if candidate.x.dtype != x.dtype:
        raise ValueError(f"the candidate of the proposal has dtype {candidate.x.dtype}, must be {x.dtype}")
    for name in ("log_forward", "log_backward"):
        value = getattr(candidate, name)
        if value is not None:
            check_shape(f"{name} of the proposal", value, (len(x),))
    if candidate.log_backward is not None and candidate.log_forward is None:
        raise ValueError("the proposal returned log_backward without log_forward; return both, or their difference")
