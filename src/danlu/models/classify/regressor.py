"""A network that predicts a number."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.models.base import Model
from danlu.nn.roles import roles

LOG_VARIANCE = 10.0
"""log-variances are limited to ± this number in units of the variance of the training targets"""


class Regressor(Model):
    r"""A network with one output, the standardized number; or with two, its mean and the logarithm of its variance.

    The output layer begins at 0, so the first prediction is the mean of the training targets.

    Args:
        network: maps examples to (n, 1), or with ``deviation`` to (n, 2).
        shift: added to each prediction after the multiplication by ``scale``: mean of the training targets.
        scale: standard deviation of the training targets.
        deviation: whether a standard deviation is predicted, too.

    Raises:
        ValueError: if scale is not above 0.

    >>> from danlu.models import MLP
    >>> Regressor(MLP((4,), 1), shift=150.0, scale=70.0).predict(torch.zeros(3, 4)).shape
    torch.Size([3, 1])
    """

    def __init__(self, network: Model, shift: float = 0.0, scale: float = 1.0, deviation: bool = False):
        super().__init__()
        if not (math.isfinite(shift) and math.isfinite(scale) and scale > 0):
            raise ValueError(f"shift={shift} and scale={scale} must be finite, and scale above 0")
        with torch.no_grad():
            for parameter, role in roles(network).items():
                if role == "output":
                    parameter.zero_()
        self.network, self.shift, self.scale, self.deviation = network, shift, scale, deviation

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n k"]:
        """The standardized number, (n, 1); or its mean and the logarithm of its variance, (n, 2)."""
        outputs = self.network(x)
        if not self.deviation:
            return outputs
        mean, log_variance = outputs.split(1, dim=1)
        bounded = LOG_VARIANCE * (log_variance / LOG_VARIANCE).tanh()  # also where the network diverges, it is finite
        return torch.cat([mean, bounded], dim=1)

    def predict(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n k"]:
        """The number in the units of the target, (n, 1); or with ``deviation`` its mean and standard deviation."""
        outputs = self(x)
        mean = outputs[:, :1] * self.scale + self.shift
        if not self.deviation:
            return mean
        return torch.cat([mean, (outputs[:, 1:] / 2).exp() * self.scale], dim=1)
