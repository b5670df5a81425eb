"""Activation normalization: a shift and a scale for each channel, initialized from data."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.nn.transforms.transform import Transform

_ROUNDING = 4
"""A channel whose standard deviation is at most so many units of rounding of its mean is constant."""


class ActNorm(Transform):
    r"""A learned shift and scale for each channel: :math:`z = (x - m) \, e^{s}`.

    ``initialize`` sets m and s so that a first batch has mean 0 and standard deviation 1 in every channel. A channel
    that is constant in this batch, up to rounding, gets s = 0. Without ``initialize``, m and s are 0. Kingma and
    Dhariwal, "Glow: generative flow with invertible 1×1 convolutions", 2018, section 3.1.

    Args:
        size: number of channels: the second dimension of the inputs.

    >>> norm = ActNorm(2)
    >>> z = norm.initialize(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
    >>> z.mean(0), z.std(0, correction=0)
    (tensor([0., 0.], grad_fn=...), tensor([1., 1.], grad_fn=...))
    """

    def __init__(self, size: int):
        super().__init__()
        self.shift, self.log_scale = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size))

    def forward(
        self, x: Float[Tensor, "n d *positions"], context: Tensor | None = None
    ) -> tuple[Tensor, Float[Tensor, "n"]]:
        """Subtract the shift and multiply by the scale."""
        shift, log_scale = self._aligned(x)
        return (x - shift) * log_scale.exp(), self._log_det(x)

    def inverse(
        self, z: Float[Tensor, "n d *positions"], context: Tensor | None = None
    ) -> tuple[Tensor, Float[Tensor, "n"]]:
        """Divide by the scale and add the shift."""
        shift, log_scale = self._aligned(z)
        return z * (-log_scale).exp() + shift, -self._log_det(z)

    def initialize(self, x: Float[Tensor, "n d *positions"], context: Tensor | None = None) -> Tensor:
        """Set shift and scale from the mean and the standard deviation of each channel, and return z."""
        with torch.no_grad():
            channels = x.transpose(0, 1).flatten(1).double()
            mean, deviation = channels.mean(1), channels.std(1, correction=0)
            rounding = _ROUNDING * torch.finfo(x.dtype).eps * mean.abs()
            self.shift.copy_(mean)
            self.log_scale.copy_(torch.where(deviation > rounding, -deviation.log(), 0.0))
        return self(x, context)[0]

    def _aligned(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale in the shape of an example."""
        shape = (-1, *(1,) * (x.dim() - 2))
        return self.shift.view(shape), self.log_scale.view(shape)

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_scale.sum() * math.prod(x.shape[2:])).expand(x.shape[0])
