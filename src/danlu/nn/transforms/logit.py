"""The logit of values in an interval, which maps pixels to real numbers."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from danlu.nn.transforms.transform import Transform


class Logit(Transform):
    r"""Map the values of an interval to real numbers.

    .. math:: z = \log \frac{y}{1 - y}, \qquad y = \alpha + (1 - 2 \alpha) \, \frac{x - a}{b - a}

    α keeps the ends a and b of the interval finite. Papamakarios, Pavlakou and Murray, "Masked autoregressive flow for
    density estimation", 2017, section 4.3, with α = 10⁻⁶ for MNIST and 0.05 for CIFAR-10; Dinh et al., "Density
    estimation using Real NVP", 2017, section 4.1. The inverse also reaches a margin of :math:`\alpha (b - a) / (1 - 2
    \alpha)` on both sides of the interval. For examples with values outside the margin the density is 0: the
    log-determinant is −∞, and z is finite.

    Args:
        low: a.
        high: b.
        alpha: α.

    Raises:
        ValueError: if α is not between 0 and 0.5, or a is not less than b.

    >>> z, log_det = Logit(0.0, 1.0, alpha=0.05)(torch.tensor([[0.5, 1.0]]))
    >>> z
    tensor([[0.0000, 2.9444]])
    """

    def __init__(self, low: float, high: float, alpha: float = 0.05):
        super().__init__()
        if not 0 < alpha < 0.5:
            raise ValueError(f"alpha={alpha} must be greater than 0 and less than 0.5")
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"the interval from {low} to {high} must have two finite ends in increasing order")
        self.low, self.high, self.alpha = low, high, alpha
        self.slope = (1 - 2 * alpha) / (high - low)

    def forward(self, x: Float[Tensor, "n *shape"], context: Tensor | None = None) -> tuple[Tensor, Float[Tensor, "n"]]:
        """The logits."""
        # 1 − y from x, because a difference from 1 would lose the digits of values near the upper end
        y, rest = (x - self.low) * self.slope + self.alpha, (self.high - x) * self.slope + self.alpha
        outside = (torch.minimum(y, rest) <= 0).flatten(1).any(1)
        tiny = torch.finfo(x.dtype).tiny
        log_y, log_rest = y.clamp(min=tiny).log(), rest.clamp(min=tiny).log()
        log_det = math.prod(x.shape[1:]) * math.log(self.slope) - (log_y + log_rest).flatten(1).sum(1)
        return log_y - log_rest, log_det.masked_fill(outside, -math.inf)

    def inverse(self, z: Float[Tensor, "n *shape"], context: Tensor | None = None) -> tuple[Tensor, Float[Tensor, "n"]]:
        """The values of the interval."""
        log_det = (F.logsigmoid(z) + F.logsigmoid(-z)).flatten(1).sum(1) - math.prod(z.shape[1:]) * math.log(self.slope)
        return (z.sigmoid() - self.alpha) / self.slope + self.low, log_det
