"""Real visible units, normal given the hidden units."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from danlu.models.energy.data_moments import DataMoments
from danlu.models.energy.rbm.visible_units import Evidence, VisibleUnits
from danlu.models.energy.unit_values import check_finite
from danlu.sampling.mcmc.importance import Distribution

LOG_2_PI = math.log(2 * math.pi)


class GaussianUnits(VisibleUnits):
    r"""Real units: :math:`f(v) = -\sum_i (v_i - b_i)^2 / 2 \sigma_i^2` and :math:`\phi(v)_i = v_i / \sigma_i^2`.

    Given the hidden units, they are independent and normal with means b + W h and variances σ². Cho, Ilin and Raiko,
    "Improved learning of Gaussian-Bernoulli restricted Boltzmann machines", 2011, equation 2.

    Args:
        units: number of units.

    >>> units = GaussianUnits(2)
    >>> units.mean(torch.ones(1, 2))
    tensor([[1., 1.]], grad_fn=<AddBackward0>)
    """

    uniform = False

    def __init__(self, units: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(units))
        self.log_variance = nn.Parameter(torch.zeros(units))
        self.moments = DataMoments((units,))

    def check(self, v: Float[Tensor, "n v"], what: str = "example") -> None:
        check_finite(v, what)

    def check_mean(self, v: Float[Tensor, "n v"]) -> None:
        check_finite(v)

    @torch.no_grad()
    def initialize(self, v: Float[Tensor, "n v"]) -> None:
        self.bias.copy_(self.moments.mean)
        self.log_variance.copy_(self._base_variance().log())

    def statistic(self, v: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        return v * (-self.log_variance).exp()

    def log_factor(self, v: Float[Tensor, "n v"], beta: float = 1.0) -> Float[Tensor, "n"]:
        factor = ((v - self.bias).square() * (-self.log_variance).exp()).sum(1) / -2
        if beta == 1:
            return factor
        variance = self._base_variance()
        normal = (v - self.moments.mean).square() / variance + variance.log() + LOG_2_PI
        return beta * factor - (1 - beta) * normal.to(v.dtype).sum(1) / 2

    def mean(
        self, field: Float[Tensor, "n v"], beta: float = 1.0, evidence: Evidence | None = None
    ) -> Float[Tensor, "n v"]:
        return self._conditional(field, beta, evidence)[0]

    def sample(
        self,
        field: Float[Tensor, "n v"],
        noise: Float[Tensor, "n v"],
        beta: float = 1.0,
        evidence: Evidence | None = None,
    ) -> Float[Tensor, "n v"]:
        mean, precision = self._conditional(field, beta, evidence)
        return mean + noise * precision.rsqrt()

    def observed(self, values: Float[Tensor, "n v"], noise: float) -> Evidence:
        if not 0 < noise < math.inf:
            raise ValueError(f"noise={noise} is a standard deviation and must be a finite number greater than 0")
        known = noise**2 < 1 / torch.finfo(values.dtype).max  # the precision is too large for a number
        return Evidence(values, torch.full_like(values, math.inf if known else noise**-2))

    def _conditional(self, field: Tensor, beta: float, evidence: Evidence | None) -> tuple[Tensor, Tensor]:
        """The means (n, visible) and the precisions, which broadcast with them."""
        mean, precision = field + self.bias, (-self.log_variance).exp()
        if beta != 1:
            base = (1 - beta) / self._base_variance().to(mean.dtype)
            precision, center = beta * precision + base, beta * precision * mean
            mean = (center + base * self.moments.mean.to(mean.dtype)) / precision
        if evidence is None:
            return mean, precision
        total = precision + evidence.strength
        known = evidence.strength.isinf()
        mixed = (precision * mean + evidence.strength.masked_fill(known, 0) * evidence.values) / total
        return torch.where(known, evidence.values, mixed), total

    def log_integral(self, field: Float[Tensor, "n v"]) -> Float[Tensor, "n"]:
        squares = (field.square() + 2 * field * self.bias) * (-self.log_variance).exp()
        return (squares + self.log_variance + LOG_2_PI).sum(1) / 2

    def best(self, mean: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        return mean

    def base(self) -> Distribution:
        mean, deviation = (value.to(self.bias.dtype) for value in (self.moments.mean, self._base_variance().sqrt()))

        def sample(n: int, generator: torch.Generator) -> Tensor:
            noise = torch.randn(n, len(mean), generator=generator, device=generator.device)
            return noise.to(mean) * deviation + mean

        return Distribution(lambda v: self.log_factor(v, 0.0), sample)

    def _base_variance(self) -> Tensor:
        """The variances of the base: those of the data, but not below a thousandth of their mean; 1 if all are 0."""
        variance = self.moments.variance()
        mean = variance.mean()
        return torch.where(mean > 0, torch.maximum(variance, 1e-3 * mean), torch.ones_like(variance))
