"""Virtual batch normalization: the statistics come from a fixed reference batch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class VirtualBatchNorm(nn.Module):
    r"""Normalize each example with the statistics of a fixed reference batch and itself, not of its own batch.

    .. math:: y = \gamma \, \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta

    where μ and σ² are the mean and variance of the R reference examples and x together, over the positions of each
    channel; the reference examples are normalized with their own statistics. Salimans et al., "Improved techniques for
    training GANs", 2016, section 3.5. The reference examples are the first rows of every batch: they pass through the
    network with it, so that their statistics are those of the current weights.

    Args:
        size: number of features or channels.
        reference: number R of reference examples.
        eps: ε.

    Raises:
        ValueError: if a batch has fewer than R examples.

    >>> norm = VirtualBatchNorm(3, reference=4)
    >>> x = torch.randn(6, 3)
    >>> norm(x)[:5].allclose(norm(x[:5]))
    True
    """

    def __init__(self, size: int, reference: int, eps: float = 1e-5):
        super().__init__()
        if reference < 1:
            raise ValueError(f"reference={reference} must be at least 1")
        self.reference, self.eps = reference, eps
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x: Float[Tensor, "n size *positions"]) -> Float[Tensor, "n size *positions"]:
        """The normalized batch; its first rows are the reference examples."""
        if len(x) < self.reference:
            raise ValueError(f"a batch of {len(x)} must start with the {self.reference} reference examples")
        flat = x.flatten(2) if x.dim() > 2 else x[:, :, None]
        reference, batch = flat[: self.reference], flat[self.reference :]
        mean, variance = reference.mean((0, 2)), reference.var((0, 2), correction=0)
        weight = 1 / (self.reference + 1)
        batch_mean, batch_variance = batch.mean(2), batch.var(2, correction=0)
        means = torch.lerp(mean.expand_as(batch_mean), batch_mean, weight)
        # variance of the union of two groups: within the groups plus between their means
        between = weight * (1 - weight) * (batch_mean - mean).square()
        variances = torch.lerp(variance.expand_as(batch_variance), batch_variance, weight) + between
        means = torch.cat([mean.expand(self.reference, -1), means])
        scale = self.weight * torch.cat([variance.expand(self.reference, -1), variances]).add(self.eps).rsqrt()
        shift = self.bias - means * scale
        return torch.addcmul(shift[:, :, None], flat, scale[:, :, None]).reshape(x.shape)

    def extra_repr(self) -> str:
        """Sizes, for ``repr``."""
        return f"{len(self.weight)}, reference={self.reference}"
