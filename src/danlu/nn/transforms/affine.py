"""Elementwise affine functions with bounded log-scales."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.nn.transforms.univariate import BOUND, Univariate


class Affine(Univariate):
    r"""The univariate function of masked autoregressive flow, applied to each entry with its own parameters.

    .. math:: z_i = (x_i - \mu_i) \, e^{-\alpha_i}, \qquad \alpha_i = \frac{a_i}{1 + |a_i| / B}

    Papamakarios, Pavlakou and Murray, "Masked autoregressive flow for density estimation", 2017, equations 4 and 5,
    where α is the output of the network itself. Here α is between −B and B, so that no single scale overflows far from
    the training data, where a network extrapolates. μ is not bounded: through it samples can still grow exponentially
    with the number of entries, so finite samples are not guaranteed. α and its derivative agree with the paper at
    a = 0, and the derivative is never 0.

    Args:
        bound: B; None for the form of the paper.

    Raises:
        ValueError: if the bound is not greater than 0.

    >>> z, log_slope = Affine()(torch.tensor([3.0]), torch.tensor([[1.0, 0.0]]))
    >>> z, log_slope
    (tensor([2.]), tensor([-0.]))
    """

    def __init__(self, bound: float | None = BOUND):
        super().__init__(2, bound)

    def __call__(
        self, x: Float[Tensor, "*n"], parameters: Float[Tensor, "*n 2"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """z, and the logarithm of its derivative with respect to x."""
        mean, log_scale = self._split(parameters)
        return (x - mean) * (-log_scale).exp(), -log_scale

    def inverse(
        self, z: Float[Tensor, "*n"], parameters: Float[Tensor, "*n 2"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """x, and the logarithm of its derivative with respect to z."""
        mean, log_scale = self._split(parameters)
        return torch.addcmul(mean, z, log_scale.exp()), log_scale

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """μ and α."""
        mean, raw = parameters.unbind(-1)
        return mean, self.bounded(raw)
