"""Minibatch discrimination: features that measure how similar the examples of a batch are."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class MinibatchDiscrimination(nn.Module):
    r"""Append to each example its similarity to the other examples of the batch, so that a critic can detect collapse.

    .. math:: o(x_i)_b = \sum_{j \ne i} \exp(-\lVert M_{ib} - M_{jb} \rVert_1), \qquad M_i = f(x_i) \, T

    Salimans et al., "Improved techniques for training GANs", 2016, section 3.2; their sum includes j = i, which
    adds 1 to every o.

    Args:
        features: length of f(x).
        kernels: number B of similarities appended.
        width: length of a row M_ib.

    Raises:
        ValueError: if an argument is less than 1, or a batch has a single example.

    >>> MinibatchDiscrimination(features=8, kernels=3)(torch.zeros(4, 8)).shape
    torch.Size([4, 11])
    """

    def __init__(self, features: int, kernels: int = 100, width: int = 5):
        super().__init__()
        if min(features, kernels, width) < 1:
            raise ValueError(f"features={features}, kernels={kernels} and width={width} must be at least 1")
        self.kernels = kernels
        self.projection = nn.Parameter(torch.randn(features, kernels, width) / features**0.5)

    def forward(self, f: Float[Tensor, "n features"]) -> Float[Tensor, "n features+{self.kernels}"]:
        """The features, followed by the similarities."""
        if len(f) < 2:
            raise ValueError(
                "minibatch discrimination compares examples, but this batch has 1; use batches of 2 or more"
            )
        rows = torch.einsum("nf,fbw->bnw", f, self.projection)
        distances = torch.cdist(rows, rows, p=1.0)  # (B, n, n); no second derivative, so penalties are refused
        similarities = (-distances).exp().sum(2) - 1  # an example is at distance 0 from itself
        return torch.cat([f, similarities.T], dim=1)
