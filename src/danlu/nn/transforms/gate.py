"""Elementwise averages of a value and a number, with weights from a gate."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from danlu.nn.transforms.univariate import Univariate

FORGET_BIAS = 2.0
"""Default of the number that is added to each gate. The paper suggests gates that are about 1 or 2 at first."""


class Gate(Univariate):
    r"""The univariate function of inverse autoregressive flow, applied to each entry with its own parameters.

    .. math:: z_i = \sigma_i x_i + (1 - \sigma_i) \, m_i, \qquad \sigma_i = \frac{1}{1 + e^{-(s_i + \beta)}}

    Kingma et al., "Improved variational inference with inverse autoregressive flow", 2016, equations 12 to 14. With the
    bias β above 0, a gate is open while s is near 0, and the function changes little, as with the bias of the forget
    gate of an LSTM. The slope σ is less than 1, so z has at most the range of x and m.

    Args:
        bias: β; with 0, s is the argument of the logistic function, as in the paper.

    Raises:
        ValueError: if the bias is not finite.

    >>> z, log_slope = Gate(bias=0.0)(torch.tensor([3.0]), torch.tensor([[1.0, 0.0]]))
    >>> z, log_slope
    (tensor([2.]), tensor([-0.6931]))
    """

    def __init__(self, bias: float = FORGET_BIAS):
        if not math.isfinite(bias):
            raise ValueError(f"bias={bias} must be a finite number")
        super().__init__(2, None)
        self.bias = bias

    def __call__(
        self, x: Float[Tensor, "*n"], parameters: Float[Tensor, "*n 2"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """z, and the logarithm of its derivative with respect to x."""
        mean, log_slope = self._split(parameters)
        return torch.addcmul(mean, x - mean, log_slope.exp()), log_slope

    def inverse(
        self, z: Float[Tensor, "*n"], parameters: Float[Tensor, "*n 2"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """x, and the logarithm of its derivative with respect to z."""
        mean, log_slope = self._split(parameters)
        return torch.addcmul(mean, z - mean, (-log_slope).exp()), -log_slope

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """m and log σ."""
        mean, raw = parameters.unbind(-1)
        return mean, F.logsigmoid(raw + self.bias)
