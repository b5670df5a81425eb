"""Elementwise mixtures of normal distributions, as an invertible function to a standard normal variable."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.special import erfcx, log_ndtr, ndtri

from danlu.nn.transforms.univariate import BOUND, Univariate

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
NEWTON_STEPS = 3
"""Newton steps of the normal quantile, after a start with a relative error below 1e-2."""
ITERATIONS = 100
"""Largest number of iterations of the inverse; each at least halves the interval, or is a Newton step inside it."""


class GaussianMixture(Univariate):
    r"""The function that gives a mixture of C normal distributions a standard normal distribution.

    .. math:: z = \Phi^{-1}(F(x)), \qquad F(x) = \sum_c \pi_c \Phi\left(\frac{x - \mu_c}{\sigma_c}\right)

    Then :math:`\log \varphi(z) + \log \frac{dz}{dx}` is the log-density of the mixture. In an ``Autoregressive``
    transform it is the conditional of "MADE MoG" in Papamakarios et al., 2017, section 4.1, written as a function with
    an inverse. Distribution functions are computed as logarithms, from the nearer tail, so that z is exact far from all
    means, too. Distances of more than about 1e18 deviations in float32 (1e153 in float64) count as this distance. The
    inverse is found by Newton's method in the interval between the smallest and the largest
    :math:`\mu_c + \sigma_c z`, which contains it. Where two components are far apart, the density between them is
    almost 0; there z determines x only up to the precision of z divided by dz/dx.

    The parameters of an entry are C logits of the weights π, C means and C log-scales, bounded as in ``Affine``.

    Args:
        components: C.
        bound: bound B of the log-scales; None for no bound.

    Raises:
        ValueError: if an argument is out of range.

    >>> mixture = GaussianMixture(2)
    >>> parameters = torch.tensor([[0.0, 0.0, -1.0, 1.0, 0.0, 0.0]])  # equal weights, means −1 and 1, scales 1
    >>> mixture(torch.tensor([0.0]), parameters)[0]
    tensor([0.])
    """

    def __init__(self, components: int, bound: float | None = BOUND):
        if components < 1:
            raise ValueError(f"components={components} must be at least 1")
        super().__init__(3 * components, bound)
        self.components = components

    def __call__(
        self, x: Float[Tensor, "*n"], parameters: Float[Tensor, "*n outputs"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """z, and the logarithm of its derivative with respect to x."""
        return _gaussianized(x, *self._split(parameters))

    @torch.no_grad()
    def inverse(
        self, z: Float[Tensor, "*n"], parameters: Float[Tensor, "*n outputs"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """x, and the logarithm of its derivative with respect to z; both are constants, without gradients."""
        log_weights, means, log_scales = self._split(parameters)
        candidates = torch.addcmul(means, z.unsqueeze(-1), log_scales.exp())
        low, high = candidates.aminmax(dim=-1)
        x = (log_weights.exp() * candidates).sum(-1).clamp(low, high)
        tolerance = 4 * torch.finfo(x.dtype).eps
        for _ in range(ITERATIONS):
            z_of_x, log_slope = _gaussianized(x, log_weights, means, log_scales)
            error = z_of_x - z
            low, high = torch.where(error < 0, x, low), torch.where(error > 0, x, high)
            new = x - error * (-log_slope).exp()
            new = torch.where((new > low) & (new < high), new, (low + high) / 2)
            done = (error.abs() <= tolerance * (1 + z.abs())) | ((new - x).abs() <= tolerance * (1 + x.abs()))
            if done.all():
                break
            x = torch.where(done, x, new)
        return x, -_gaussianized(x, log_weights, means, log_scales)[1]

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithms of the weights, means and log-scales, each (*n, C)."""
        logits, means, raw = parameters.unflatten(-1, (3, self.components)).unbind(-2)
        return logits.log_softmax(-1), means, self.bounded(raw)


def _gaussianized(x: Tensor, log_weights: Tensor, means: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor]:
    """z and log dz/dx."""
    limit = 0.1 * torch.finfo(x.dtype).max ** 0.5  # beyond it the square would overflow, and z would be NaN
    t = ((x.unsqueeze(-1) - means) * (-log_scales).exp()).clamp(-limit, limit)
    log_density = (log_weights - log_scales - 0.5 * t.square()).logsumexp(-1) - HALF_LOG_2PI
    below, above = ((log_weights + _LogCDF.apply(side)).logsumexp(-1) for side in (t, -t))
    lower = below <= above
    z = _Quantile.apply(torch.where(lower, below, above))  # minimum() has half the gradient where both are equal
    z = torch.where(lower, z, -z)
    return z, log_density + 0.5 * z.square() + HALF_LOG_2PI


class _LogCDF(torch.autograd.Function):
    """log Φ(t). torch's own derivative has no correct digit in float32 for t below about −3000."""

    generate_vmap_rule = True

    @staticmethod
    def forward(t: Tensor) -> Tensor:
        return log_ndtr(t)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        t, log_cdf = ctx.saved_tensors
        # each side is clamped where it is not used, so that it does not overflow there
        left = 1 / _mills(t.clamp(max=0))
        right = (-0.5 * t.clamp(min=0).square() - HALF_LOG_2PI - log_cdf.clamp(min=-1)).exp()
        return gradients[0] * torch.where(t < 0, left, right)


class _Quantile(torch.autograd.Function):
    r"""The normal quantile :math:`z = \Phi^{-1}(e^l)` of a log-probability l of at most about log ½."""

    generate_vmap_rule = True

    @staticmethod
    def forward(log_probability: Tensor) -> Tensor:
        tail = -2 * log_probability
        # Φ(z) ≈ φ(z) / |z| where exp underflows
        far = -(tail - math.log(2 * math.pi) - tail.clamp(min=1).log()).clamp(min=0).sqrt()
        z = torch.where(log_probability > -80, ndtri(log_probability.exp()), far)
        for _ in range(NEWTON_STEPS):
            z = z - (log_ndtr(z) - log_probability) * _mills(z)
        return z

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return gradients[0] * _mills(z)


def _mills(z: Tensor) -> Tensor:
    """Φ(z) / φ(z), the derivative of the quantile with respect to the log-probability."""
    return math.sqrt(math.pi / 2) * erfcx(-z / math.sqrt(2))
