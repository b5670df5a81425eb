"""The visible units of a restricted Boltzmann machine: binary, or normally distributed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from danlu.models.energy.data_moments import DataMoments
from danlu.models.energy.unit_values import check_binary, check_finite, check_probabilities
from danlu.sampling.mcmc.importance import Distribution

LOG_2_PI = math.log(2 * math.pi)


class Evidence(NamedTuple):
    """Observed values of visible units, which multiply the density of each chain.

    Attributes:
        values: the observed values, (n, visible).
        strength: how sure each is, (n, visible): 0 for none, infinite for a value that is known. In between, it is the
            log-odds that the observed value of a binary unit is right, and the precision 1/σ² of a Gaussian one, in
            units of the values.
    """

    values: Tensor
    strength: Tensor


class VisibleUnits(nn.Module, ABC):
    r"""Visible units v whose log-density given the hidden units h has the natural parameters of an exponential family.

    .. math:: \log p(v \mid h) = f(v) + \phi(v)^\top W h + \text{const}

    All methods take the inverse temperature β of a path from the base distribution, whose values are independent with
    the moments of the data (β = 0), to the model (β = 1). Values are rows (n, visible).
    """

    uniform: ClassVar[bool]
    """whether ``sample`` takes uniform random numbers instead of normal ones"""
    moments: DataMoments
    bias: nn.Parameter

    @abstractmethod
    def check(self, v: Float[Tensor, "n v"], what: str = "example") -> None:
        """Raise a ValueError if a value is not possible."""

    @abstractmethod
    def check_mean(self, v: Float[Tensor, "n v"]) -> None:
        """Raise a ValueError if a value is not possible as a mean: probabilities of binary units are."""

    @abstractmethod
    def initialize(self, v: Float[Tensor, "n v"]) -> None:
        """Set the initial parameters from examples, whose moments have been added."""

    @abstractmethod
    def statistic(self, v: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        """φ(v), which the couplings multiply."""

    @abstractmethod
    def log_factor(self, v: Float[Tensor, "n v"], beta: float = 1.0) -> Float[Tensor, "n"]:
        """The logarithm f(v) of the factor without couplings. For β = 0 the density of the base, normalized."""

    @abstractmethod
    def mean(
        self, field: Float[Tensor, "n v"], beta: float = 1.0, evidence: Evidence | None = None
    ) -> Float[Tensor, "n v"]:
        """The mean of the visible units given their input from the hidden units.

        Args:
            field: the input h Wᵀ, not multiplied by β.
            beta: inverse temperature.
            evidence: observed values.
        """

    @abstractmethod
    def sample(
        self,
        field: Float[Tensor, "n v"],
        noise: Float[Tensor, "n v"],
        beta: float = 1.0,
        evidence: Evidence | None = None,
    ) -> Float[Tensor, "n v"]:
        """Visible units given their input from the hidden units.

        Args:
            field: the input h Wᵀ, not multiplied by β.
            noise: random numbers of the kind ``uniform``.
            beta: inverse temperature.
            evidence: observed values.
        """

    @abstractmethod
    def observed(self, values: Float[Tensor, "n v"], noise: float) -> Evidence:
        """The evidence of values with noise.

        Args:
            values: the values.
            noise: probability that a binary value is wrong, or standard deviation of a Gaussian one.

        Raises:
            ValueError: if the noise is out of range.
        """

    @abstractmethod
    def log_integral(self, field: Float[Tensor, "n v"]) -> Float[Tensor, "n"]:
        """The logarithm of the sum or integral of exp(f(v) + φ(v)ᵀ field) over all v.

        Args:
            field: the input h Wᵀ.
        """

    @abstractmethod
    def best(self, mean: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        """The value of each unit with the smallest expected error: the most probable one, or the mean.

        Args:
            mean: the means.
        """

    @abstractmethod
    def base(self) -> Distribution:
        """The base distribution."""


class BinaryUnits(VisibleUnits):
    r"""Units with values 0 and 1: :math:`f(v) = b^\top v` and φ(v) = v.

    Args:
        units: number of units.

    >>> units = BinaryUnits(2)
    >>> units.mean(torch.zeros(1, 2))
    tensor([[0.5000, 0.5000]], grad_fn=<SigmoidBackward0>)
    """

    uniform = True

    def __init__(self, units: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(units))
        self.moments = DataMoments((units,))

    def check(self, v: Float[Tensor, "n v"], what: str = "example") -> None:
        check_binary(v, what)

    def check_mean(self, v: Float[Tensor, "n v"]) -> None:
        check_probabilities(v)

    @torch.no_grad()
    def initialize(self, v: Float[Tensor, "n v"]) -> None:
        self.bias.copy_(self.moments.probability().logit())

    def statistic(self, v: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        return v

    def log_factor(self, v: Float[Tensor, "n v"], beta: float = 1.0) -> Float[Tensor, "n"]:
        logits = self._logits(beta)
        constant = 0.0 if beta == 1 else (1 - beta) * softplus(self._logits(0.0)).sum()
        return (v * logits).sum(1) - constant

    def mean(
        self, field: Float[Tensor, "n v"], beta: float = 1.0, evidence: Evidence | None = None
    ) -> Float[Tensor, "n v"]:
        logits = field + self.bias if beta == 1 else beta * field + self._logits(beta)
        if evidence is not None:
            logits = logits + torch.where(evidence.values > 0.5, evidence.strength, -evidence.strength)
        return logits.sigmoid()

    def sample(
        self,
        field: Float[Tensor, "n v"],
        noise: Float[Tensor, "n v"],
        beta: float = 1.0,
        evidence: Evidence | None = None,
    ) -> Float[Tensor, "n v"]:
        return (noise < self.mean(field, beta, evidence)).to(noise.dtype)

    def observed(self, values: Float[Tensor, "n v"], noise: float) -> Evidence:
        if not 0 < noise < 0.5:
            raise ValueError(f"noise={noise} is the probability of a wrong value and must be between 0 and 0.5")
        return Evidence(values, torch.full_like(values, math.log((1 - noise) / noise)))

    def log_integral(self, field: Float[Tensor, "n v"]) -> Float[Tensor, "n"]:
        return softplus(field + self.bias).sum(1)

    def best(self, mean: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        return (mean > 0.5).to(mean.dtype)

    def base(self) -> Distribution:
        probability = self.moments.probability().to(self.bias.dtype)

        def sample(n: int, generator: torch.Generator) -> Tensor:
            uniform = torch.rand(n, len(probability), generator=generator, device=generator.device)
            return (uniform.to(probability) < probability).to(probability.dtype)

        return Distribution(lambda v: self.log_factor(v, 0.0), sample)

    def _logits(self, beta: float) -> Tensor:
        """The biases at an inverse temperature."""
        if beta == 1:
            return self.bias
        return torch.lerp(self.moments.probability().to(self.bias.dtype).logit(), self.bias, beta)


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
