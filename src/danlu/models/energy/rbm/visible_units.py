"""The interface of the visible units of a restricted Boltzmann machine, and observed values of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from danlu.models.energy.data_moments import DataMoments
from danlu.sampling.mcmc.importance import Distribution


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
