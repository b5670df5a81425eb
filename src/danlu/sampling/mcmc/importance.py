"""Importance sampling: expectations under a density from draws of another distribution, with weights in log space."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from danlu.sampling.mcmc.checks import check_shape
from danlu.sampling.mcmc.diagnostics import pareto_k
from danlu.sampling.mcmc.kernel import LogDensity
from danlu.sampling.mcmc.step_generators import StepGenerators


class Distribution(NamedTuple):
    """A distribution with a normalized log-density and an exact sampler.

    Attributes:
        log_density: logarithm of the normalized density, of states (n, ...) to (n,).
        sample: function of a number n and a generator that returns n independent draws, (n, ...).
    """

    log_density: LogDensity
    sample: Callable[[int, torch.Generator], Tensor]


class Estimate(NamedTuple):
    """An estimate and its standard error.

    Attributes:
        value: the estimate.
        standard_error: its standard error, from the variance of the weighted draws.
    """

    value: float
    standard_error: float


@dataclass(frozen=True)
class ImportanceSample:
    """Draws from a proposal with importance weights w = p / q.

    Attributes:
        x: draws from the proposal, (n, ...).
        log_weights: logarithms of the weights in float64, (n,). A weight of 0 is −∞.
    """

    x: Tensor
    log_weights: Tensor

    def plain(self, values: Float[Tensor, "n"]) -> Estimate:
        r"""The unbiased estimate of Z · E_p[f], which is E_p[f] if the log-density was normalized.

        .. math:: \frac1n \sum_i w_i f(x_i)

        The variance is smallest for a proposal q ∝ p·|f|. Weights above 1e308 give an infinite value; see ``log_z``.

        Args:
            values: f of each draw, (n,).

        Raises:
            ValueError: if there is not one value for each draw.
        """
        largest = self.log_weights.amax()
        terms = (self.log_weights - largest).exp() * self._values(values)
        factor = float(largest.exp())
        return Estimate(factor * float(terms.mean()), factor * float(terms.std()) / math.sqrt(len(terms)))

    def normalized(self, values: Float[Tensor, "n"]) -> Estimate:
        r"""The self-normalized estimate of E_p[f], which needs no normalized log-density. It is consistent and biased.

        .. math:: \hat\mu = \frac{\sum_i w_i f(x_i)}{\sum_i w_i}, \quad
            \mathrm{se}^2 = \frac{\sum_i w_i^2 (f(x_i) - \hat\mu)^2}{(\sum_i w_i)^2}

        The asymptotic variance is smallest for a proposal q ∝ p·|f − E_p f|. Owen, "Monte Carlo theory, methods and
        examples", 2013, section 9.2.

        Args:
            values: f of each draw, (n,).

        Raises:
            ValueError: if there is not one value for each draw.
        """
        weights = self.log_weights.softmax(0)
        values = self._values(values)
        mean = (weights * values).sum()
        return Estimate(float(mean), float((weights * (values - mean)).square().sum().sqrt()))

    def log_z(self) -> Estimate:
        """The logarithm of the normalizer Z of the log-density, log of the mean weight, with the delta method."""
        return log_mean_exp(self.log_weights)

    def effective_sample_size(self) -> float:
        """The effective sample size of the weights; see ``weights_sample_size``."""
        return weights_sample_size(self.log_weights)

    def pareto_k(self) -> float:
        """The tail of the weights; see ``pareto_k``."""
        return pareto_k(self.log_weights)

    def _values(self, values: Tensor) -> Tensor:
        check_shape("values", values, tuple(self.log_weights.shape))
        return values.to(self.log_weights)


def importance_sample(
    log_density: LogDensity, proposal: Distribution, count: int, seed: int | torch.Generator = 0
) -> ImportanceSample:
    """Draw from a proposal and weight the draws for a density.

    Args:
        log_density: logarithm of the density, which need not be normalized, of states (n, ...) to (n,).
        proposal: the proposal. It must have a positive density wherever the target has one.
        count: number n of draws, at least 2.
        seed: random seed, or a generator. With a seed, ``proposal.sample`` gets a generator on the CPU.

    Raises:
        ValueError: if there are fewer than 2 draws, a function returns another shape, a weight is NaN or +∞, or all
            weights are 0.

    >>> square = lambda x: -x.square() / 2  # a normal density without its normalizer
    >>> draw = lambda n, g: 4 * torch.rand(n, generator=g, dtype=torch.float64) - 2
    >>> uniform = Distribution(lambda x: torch.full_like(x, 0.25).log(), draw)
    >>> sample = importance_sample(square, uniform, 10_000)
    >>> abs(sample.normalized(sample.x.square()).value - 0.7737) < 0.02  # variance of a normal truncated to [-2, 2]
    True
    """
    if count < 2:
        raise ValueError(f"count={count} must be at least 2")
    with torch.no_grad():
        x = proposal.sample(count, StepGenerators("importance", seed)())
        return ImportanceSample(x, log_weights(log_density, proposal, x))


@torch.no_grad()
def log_weights(log_density: LogDensity, proposal: Distribution, x: Shaped[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
    """The logarithms of the importance weights p / q of draws from a proposal, in float64.

    Args:
        log_density: logarithm of the density p.
        proposal: the proposal q.
        x: draws from the proposal.

    Raises:
        ValueError: if a function returns another shape, a weight is NaN or +∞, or all weights are 0.
    """
    target, source = log_density(x), proposal.log_density(x)
    check_shape("the log-density", target, (len(x),))
    check_shape("the log-density of the proposal", source, (len(x),))
    weights = exact(target) - exact(source)
    wrong = weights.isnan() | (weights == torch.inf)
    if bool(wrong.any()):
        draw = int(wrong.int().argmax())
        raise ValueError(
            f"the log-weight of draw {draw} is {float(weights[draw])}: log-density {float(target[draw])}, "
            f"of the proposal {float(source[draw])}"
        )
    if bool(weights.isneginf().all()):
        raise ValueError("all weights are 0: no draw of the proposal has a positive density")
    return weights


def log_mean_exp(log_weights: Float[Tensor, "n"]) -> Estimate:
    """The logarithm of the mean weight, and its standard error by the delta method: that of the mean over the mean.

    Args:
        log_weights: logarithms of at least 2 weights.

    >>> log_z, error = log_mean_exp(torch.tensor([1.0, 3.0], dtype=torch.float64).log())
    >>> round(log_z, 6), round(error, 6)  # log 2, and 1 / 2
    (0.693147, 0.5)
    """
    largest = log_weights.amax()
    weights = (log_weights - largest).exp()
    mean = weights.mean()
    return Estimate(float(largest + mean.log()), float(weights.std() / mean) / math.sqrt(len(weights)))


def weights_sample_size(log_weights: Float[Tensor, "n"]) -> float:
    r"""The effective sample size of weights, from 1 to n.

    .. math:: \frac{(\sum_i w_i)^2}{\sum_i w_i^2}

    Kong, "A note on importance sampling using standardized weights", 1992.

    Args:
        log_weights: logarithms of the weights, (n,).

    >>> round(weights_sample_size(torch.tensor([1.0, 1.0, 0.0]).log().double()), 6)
    2.0
    """
    return float((2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp())


def exact(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The values in float64, which has no support on Apple GPUs: there they stay as they are.

    Args:
        values: the values.
    """
    return values if values.device.type == "mps" else values.double()
