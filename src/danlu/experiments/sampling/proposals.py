"""Proposals of Metropolis–Hastings sampling: random ones between states, a log-normal walk, and walks on a ring."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.rng.keys import generator
from danlu.sampling.mcmc.metropolis import Candidate, MetropolisHastings, Proposal

STATES = 30  # between which the proposals are random
SCALE = 0.8  # standard deviation of the logarithm of the factor of a log-normal walk
RING = 20  # states of a ring


def grid_density(seed: int) -> Float[Tensor, "states"]:
    """Random probabilities of the states: a sum of random waves in the logarithm.

    Args:
        seed: random seed.

    >>> p = grid_density(0)
    >>> p.shape, round(float(p.sum()), 6)
    (torch.Size([30]), 1.0)
    """
    waves = torch.randn(4, 2, generator=generator("density", seed), dtype=torch.float64)
    place = torch.arange(STATES, dtype=torch.float64) * 2 * torch.pi / STATES
    angles = torch.arange(1, 5, dtype=torch.float64)[:, None] * place
    return (0.5 * (waves[:, :1] * angles.sin() + waves[:, 1:] * angles.cos())).sum(0).softmax(0)


def grid_proposal(seed: int) -> Float[Tensor, "states states"]:
    """A random matrix q(x' | x), rows x and columns x', that prefers some x'.

    Args:
        seed: random seed.

    >>> q = grid_proposal(0)
    >>> bool(q.sum(1).allclose(torch.ones(STATES, dtype=q.dtype))), bool(q.allclose(q.T))
    (True, False)
    """
    source = generator("proposal", seed)
    preferred, other = (torch.randn(n, STATES, generator=source, dtype=torch.float64) for n in (1, STATES))
    return (0.7 * preferred + 0.7 * other).softmax(1)


def grid_kernel(p: Float[Tensor, "states"], q: Float[Tensor, "states states"], with_q: bool) -> MetropolisHastings:
    """Metropolis–Hastings sampling of numbers of states with a matrix of proposals.

    Args:
        p: probabilities of the states.
        q: probabilities of the proposals, rows x and columns x'.
        with_q: whether the acceptance contains q.
    """
    cumulative = q.cumsum(1)[:, :-1].contiguous()

    def propose(x: Int[Tensor, "n"], source: torch.Generator) -> Candidate:
        uniform = torch.rand(len(x), 1, generator=source, dtype=q.dtype)
        return grid_candidate(q, x, torch.searchsorted(cumulative[x], uniform)[:, 0], with_q)

    return MetropolisHastings(lambda x: p.log()[x], propose)


def grid_candidate(
    q: Float[Tensor, "states states"], x: Int[Tensor, "n"], new: Int[Tensor, "n"], with_q: bool
) -> Candidate:
    """Candidates with the log-probabilities of their proposals, or without them.

    Args:
        q: probabilities of the proposals.
        x: numbers of the states before.
        new: numbers of the candidates.
        with_q: whether the candidates have the log-probabilities.
    """
    return Candidate(new, q[x, new].log(), q[new, x].log()) if with_q else Candidate(new)


def grid_matrix(
    kernel: MetropolisHastings, q: Float[Tensor, "states states"], with_q: bool
) -> Float[Tensor, "states states"]:
    """The exact transition matrix, from the acceptance of the kernel for all pairs of states.

    Args:
        kernel: the kernel.
        q: probabilities of its proposals.
        with_q: whether its acceptance contains q.
    """
    everyone = torch.arange(STATES)
    state = kernel.start(everyone)
    candidates = [grid_candidate(q, everyone, torch.full_like(everyone, new), with_q) for new in range(STATES)]
    accepted = torch.stack([kernel.log_acceptance(state, candidate).exp() for candidate in candidates], 1)
    matrix = q * accepted
    return matrix + torch.diag(1 - matrix.sum(1))


def log_normal_walk(with_q: bool) -> Proposal:
    """A proposal that multiplies x by a log-normal number, for continuous states (n,): q(x' | x) has the factor 1 / x'.

    Args:
        with_q: whether the candidates have the log-densities of the proposal.
    """

    def propose(x: Float[Tensor, "n"], source: torch.Generator) -> Candidate:
        new = x * (SCALE * torch.randn(len(x), generator=source, dtype=x.dtype)).exp()
        return Candidate(new, -new.abs().log(), -x.abs().log()) if with_q else Candidate(new)

    return propose


def ring_walk(stays: bool) -> Proposal:
    """A proposal of a neighbor on the ring, or with ``stays`` also of the same state.

    Args:
        stays: whether the same state is proposed, too.
    """

    def propose(x: Int[Tensor, "n"], source: torch.Generator) -> Candidate:
        step = torch.randint(3 if stays else 2, (len(x),), generator=source)
        return Candidate((x + (step - 1 if stays else 2 * step - 1)) % RING)

    return propose
