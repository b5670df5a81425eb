"""Elementwise affine functions with bounded log-scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from danlu.nn.derivatives import differentiable_gradients, records_backward
from danlu.nn.masked.conditioner import NextArray
from danlu.nn.transforms.univariate import BOUND, Inverse, Univariate


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
        if records_backward(parameters) and x.dtype == parameters.dtype:
            return _Standardize.apply(x, parameters, self)
        return self._standardize(x, parameters)

    def _standardize(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The same in operations that autograd differentiates."""
        mean, log_scale = self._split(parameters)
        return (x - mean) * (-log_scale).exp(), -log_scale

    def inverse(
        self, z: Float[Tensor, "*n"], parameters: Float[Tensor, "*n 2"]
    ) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """x, and the logarithm of its derivative with respect to z."""
        mean, log_scale = self._split(parameters)
        return torch.addcmul(mean, z, log_scale.exp()), log_scale

    def inverse_like(self, z: Float[Tensor, "*n"]) -> Inverse:
        """``inverse`` for many values of one shape and type, see ``Univariate.inverse_like``."""
        if self.bound is None:
            return self.inverse
        one, reciprocal = torch.ones_like(z), 1 / self.bound

        def inverse(z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
            mean, raw = parameters.unbind(-1)
            log_scale = raw / torch.add(one, raw.abs(), alpha=reciprocal)
            return torch.addcmul(mean, z, log_scale.exp()), log_scale

        return inverse

    def inverse_of_arrays(self, z: np.ndarray, log_slopes: np.ndarray) -> NextArray:
        """``inverse`` of one entry after the other in NumPy, see ``Univariate.inverse_of_arrays``."""
        reciprocal = z.dtype.type(0 if self.bound is None else 1 / self.bound)

        def inverse(i: int, parameters: np.ndarray) -> np.ndarray:
            mean, raw = parameters
            log_scale = np.abs(raw, out=log_slopes[i])
            log_scale *= reciprocal
            log_scale += 1
            np.divide(raw, log_scale, out=log_scale)
            x = np.exp(log_scale)
            x *= z[i]
            x += mean
            return x

        return inverse

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """μ and α."""
        mean, raw = parameters.unbind(-1)
        return mean, self.bounded(raw)


class _Standardize(torch.autograd.Function):
    """Half as many operations as those that autograd records. The two parameters of a value are next to each other in
    memory, and operations on one of them are slow, so they are read once and their gradients are written once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, parameters: Tensor, affine: Affine) -> tuple[Tensor, Tensor]:
        ctx.affine = affine
        mean, raw = parameters.unbind(-1)
        if affine.bound is None:
            divisor, log_slope = None, -raw
        else:
            divisor = raw.abs().div_(affine.bound).add_(1)
            log_slope = (raw / divisor).neg_()
        slope = log_slope.exp()
        z = (x - mean).mul_(slope)
        ctx.save_for_backward(x, parameters, divisor, slope, z)
        return z, log_slope

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[override]
        x, parameters, divisor, slope, z = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative may be requested
            return *differentiable_gradients(ctx.affine._standardize, (x, parameters), gradients), None  # type: ignore[return-value]
        of_z, of_log_slope = gradients
        of_x, of_parameters = of_z * slope, torch.empty_like(parameters, memory_format=torch.contiguous_format)
        of_mean, of_raw = of_parameters.unbind(-1)
        torch.neg(of_x, out=of_mean)
        of_log_scale = torch.addcmul(of_log_slope, of_z, z).neg_()
        if divisor is None:
            of_raw.copy_(of_log_scale)
        else:
            torch.div(of_log_scale.div_(divisor), divisor, out=of_raw)
        return of_x, of_parameters, None
