"""The weight of the KL divergence in the loss of a variational autoencoder."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from danlu.losses.variational import free_bits


class KLWeight(NamedTuple):
    r"""Weight of the KL divergence in the loss.

    .. math:: \beta_t \, \mathrm{KL} \qquad \text{or} \qquad \beta_t \, |\mathrm{KL} - C_t|

    The first is the β-VAE of Higgins et al., 2017, equation 4, with Bowman et al.'s warm-up, 2016; the second has the
    capacity of Burgess et al., "Understanding disentangling in β-VAE", 2018, equation 8, where β is called γ.

    Attributes:
        beta: final value of β.
        warmup: rounds over which β rises linearly from 0.
        free_bits: minimum λ of the KL divergence of each unit, in nats; see ``danlu.losses.free_bits``.
        capacity: final value of C in nats, or None for the first form.
        capacity_rounds: rounds over which C rises linearly from 0.

    >>> KLWeight(beta=4.0, warmup=100).beta_at(25), KLWeight(capacity=20.0, capacity_rounds=10).capacity_at(5)
    (1.0, 10.0)
    """

    beta: float = 1.0
    warmup: int = 0
    free_bits: float = 0.0
    capacity: float | None = None
    capacity_rounds: int = 0

    def beta_at(self, round: int) -> float:
        """β in a round."""
        return self.beta * (min(1.0, round / self.warmup) if self.warmup else 1.0)

    def capacity_at(self, round: int) -> float:
        """C in a round."""
        return (self.capacity or 0.0) * (min(1.0, round / self.capacity_rounds) if self.capacity_rounds else 1.0)

    def weighted(self, kl: Float[Tensor, "n d"], round: int) -> Float[Tensor, "n"]:
        """The weighted KL divergence of each example."""
        if self.free_bits:
            return self.beta_at(round) * free_bits(kl, self.free_bits)
        total = kl.sum(1)
        if self.capacity is not None:
            total = (total - self.capacity_at(round)).abs()
        return self.beta_at(round) * total


PLAIN = KLWeight()
"""The evidence lower bound itself, with weight 1."""
