"""Visible units with the values 0 and 1."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from danlu.models.energy.data_moments import DataMoments
from danlu.models.energy.rbm.visible_units import Evidence, VisibleUnits
from danlu.models.energy.unit_values import check_binary, check_probabilities
from danlu.sampling.mcmc.importance import Distribution


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
