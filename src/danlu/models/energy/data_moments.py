"""Mean and variance of the training examples, collected batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class DataMoments(nn.Module):
    """Mean and variance of each value over all examples that it has seen, as buffers.

    Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

    Args:
        shape: shape of an example.

    >>> moments = DataMoments((1,))
    >>> moments.add(torch.tensor([[0.0], [2.0]])); moments.add(torch.tensor([[4.0]]))
    >>> moments.mean, moments.variance()
    (tensor([2.]), tensor([2.6667]))
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(*shape))
        self.register_buffer("squares", torch.zeros(*shape))

    @torch.no_grad()
    def add(self, x: Float[Tensor, "n *shape"]) -> None:
        """Add examples.

        Args:
            x: the examples.
        """
        if not len(x):
            return
        x = x.to(self.mean.dtype)
        total = self.count + len(x)
        mean = x.mean(0)
        self.squares += (x - mean).square().sum(0) + (mean - self.mean).square() * self.count * len(x) / total
        self.mean += (mean - self.mean) * len(x) / total
        self.count.copy_(total)

    def variance(self) -> Float[Tensor, "*shape"]:
        """The variance of each value; 1 if there are no examples."""
        return torch.where(self.count > 0, self.squares / self.count.clamp(min=1), torch.ones_like(self.squares))

    def probability(self) -> Float[Tensor, "*shape"]:
        """For values 0 and 1, the probability of 1, between 0 and 1: with one example of each value added."""
        return (self.mean * self.count + 1) / (self.count + 2)
