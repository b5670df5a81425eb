"""The modern Hopfield network: an exponential energy of continuous states, whose update is attention."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from danlu.models.energy.recall_trace import Step

_SETTLED = 1e-9
"""largest change of a value in a step after which a state counts as a fixed point"""


class PatternAttention(nn.Module):
    r"""Continuous states :math:`\xi \in \mathbb R^N` with the energy of the stored patterns :math:`x_1, \dots, x_p`

    .. math:: E(\xi) = -\frac 1 \beta \log \sum_\mu e^{\beta x_\mu^\top \xi} + \tfrac 1 2 \xi^\top \xi
        + \frac{\log p} \beta + \tfrac 1 2 M^2, \qquad M = \max_\mu \lVert x_\mu \rVert

    and the update

    .. math:: \xi \leftarrow X^\top \operatorname{softmax}(\beta X \xi),

    which never raises it. Ramsauer et al., "Hopfield networks is all you need", 2021, equations 2 and 3. The
    exponential is that of Demircigil et al., "On a model of associative memory with huge storage capacity", 2017. The
    update is attention with the query ξ and the patterns as keys and values.

    Args:
        patterns: number of patterns; a pattern of zeros is an unused place.
        units: number N of values of a pattern.
        beta: inverse temperature β.

    >>> memory = PatternAttention(patterns=2, units=4, beta=1.0)
    >>> memory.store(torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]]))
    >>> memory(torch.tensor([[1.0, 1.0, -1.0, 1.0]]))
    tensor([[ 1.0000,  0.9640, -0.9640, -1.0000]], dtype=torch.float64)
    """

    def __init__(self, patterns: int, units: int, beta: float):
        super().__init__()
        self.beta = beta
        self.patterns = nn.Parameter(torch.zeros(patterns, units, dtype=torch.float64), requires_grad=False)

    @property
    def stored(self) -> Float[Tensor, "stored units"]:
        """The patterns in the used places."""
        return self.patterns[self.patterns.any(1)]

    @torch.no_grad()
    def store(self, patterns: Float[Tensor, "patterns units"]) -> None:
        """Replace the patterns. A pattern of zeros is an unused place."""
        self.patterns.copy_(patterns)

    def forward(self, states: Float[Tensor, "n units"]) -> Float[Tensor, "n units"]:
        """The states after one update."""
        stored = self.stored
        return (self.beta * states.to(stored.dtype) @ stored.T).softmax(1) @ stored

    def energy(self, states: Float[Tensor, "n units"]) -> Float64[Tensor, "n"]:
        """The energy of each state."""
        stored, states = self.stored.double(), states.double()
        attraction = (self.beta * states @ stored.T).logsumexp(1) / self.beta
        constant = math.log(len(stored)) / self.beta + stored.square().sum(1).max() / 2
        return states.square().sum(1) / 2 - attraction + constant

    def steps(self, states: Float[Tensor, "n units"], steps: int) -> Iterator[Step]:
        """Updates until no value changes by more than 10⁻⁹.

        Args:
            states: the states at the beginning.
            steps: largest number of updates.

        Yields:
            The states after each update.
        """
        states = states.to(self.patterns.dtype)
        for _ in range(steps):
            after = self(states)
            settled = (after - states).abs().amax(1) <= _SETTLED
            yield Step(after, settled.long())
            if settled.all():
                return
            states = after
