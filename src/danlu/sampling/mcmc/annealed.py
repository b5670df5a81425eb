"""Annealed importance sampling: the normalizer of a density, along a path from a distribution that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from danlu.errors import RunError, few
from danlu.sampling.mcmc.checks import check_shape
from danlu.sampling.mcmc.importance import Distribution, exact, log_mean_exp, weights_sample_size
from danlu.sampling.mcmc.kernel import Kernel, LogDensity
from danlu.sampling.mcmc.step_generators import StepGenerators

Path = Callable[[Tensor, float], Tensor]
"""function of states (chains, ...) and β from 0 to 1 to the log-density there, (chains,)"""
RELIABLE = 0.1
"""smallest effective sample size, as a fraction of the chains, for which a standard error is given"""
FEWEST = 5
"""smallest effective sample size for which a standard error is given, or all chains if there are fewer"""


@dataclass(frozen=True)
class AnnealedEstimate:
    """An estimate of the normalizer of a density.

    Attributes:
        log_z: estimate of log Z. The estimate of Z is unbiased, so that of log Z is too small on average.
        standard_error: standard error of ``log_z`` by the delta method; None if the estimate is unreliable.
        effective_sample_size: effective sample size of the weights, from 1 to the number of chains.
        log_weights: logarithm of the weight of each chain in float64, (chains,).
        x: states of the chains at the end, (chains, ...); with their weights they are a sample of the target.
    """

    log_z: float
    standard_error: float | None
    effective_sample_size: float
    log_weights: Tensor
    x: Tensor

    @property
    def unreliable(self) -> bool:
        """Whether the effective sample size is below a tenth of the chains or below 5, so that there is no error."""
        return self.standard_error is None

    def __str__(self) -> str:
        error = "unreliable" if self.standard_error is None else f"± {self.standard_error:.2g}"
        chains = len(self.log_weights)
        return f"log Z = {self.log_z:.6g}, {error} (effective sample size {self.effective_sample_size:.0f} of {chains})"


def geometric_path(base: LogDensity, log_density: LogDensity) -> Path:
    """The path of densities proportional to base^(1 − β) · density^β.

    Args:
        base: log-density for β = 0.
        log_density: log-density for β = 1.

    >>> path = geometric_path(lambda x: 0 * x, lambda x: -x)
    >>> path(torch.tensor([4.0]), 0.25)
    tensor([-1.])
    """

    def log_density_at(x: Tensor, beta: float) -> Tensor:
        if beta in (0, 1):  # without 0 · (−∞), where the other density is 0
            return log_density(x) if beta else base(x)
        return (1 - beta) * base(x) + beta * log_density(x)

    return log_density_at


@torch.no_grad()
def annealed_importance_sampling(
    base: Distribution,
    path: Path,
    kernel_at: Callable[[float], Kernel],
    betas: Sequence[int | float] | Float[Tensor, "steps"],
    chains: int,
    seed: int | torch.Generator = 0,
) -> AnnealedEstimate:
    r"""Estimate the normalizer of a density by annealed importance sampling.

    .. math:: \log w = \sum_t \log f_{\beta_t}(x_{t-1}) - \log f_{\beta_{t-1}}(x_{t-1}), \quad
        x_0 \sim f_0, \quad x_t \sim T_{\beta_t}(\cdot \mid x_{t-1}), \quad \hat Z = \frac1n \sum w

    Neal, "Annealed importance sampling", 2001. The transitions must leave the density of the path invariant, but need
    not converge. If the effective sample size is below a tenth of the chains, or below 5, few chains determine the
    estimate, and the standard error would be too small: the estimate is then unreliable and has none. Use more values
    of β, or a base that is closer to the target.

    Args:
        base: the distribution for β = 0, normalized.
        path: log-density for each β, for example a ``geometric_path``: that of the base for β = 0, that of the target
            for β = 1.
        kernel_at: function from β to a kernel that leaves the density of the path at β invariant.
        betas: values of β, ascending from 0 to 1; a step of the kernel follows each, except the first and the last.
        chains: number of chains, at least 2.
        seed: random seed, or a generator. With a seed, ``base.sample`` gets a generator on the CPU, and the chains
            stay on the device of its draws.

    Raises:
        ValueError: if β does not ascend from 0 to 1, there are fewer than 2 chains, or a function returns another
            shape.
        RunError: if a weight is NaN or +∞, or all weights are 0.

    >>> from danlu.sampling import MALA
    >>> draw = lambda n, g: torch.randn(n, 1, generator=g, dtype=torch.float64)
    >>> normal = Distribution(lambda x: -x.square().sum(1) / 2 - 0.9189385, draw)
    >>> path = geometric_path(normal.log_density, lambda x: -2 * x.square().sum(1))  # Z = sqrt(pi / 2)
    >>> kernel_at = lambda beta: MALA(lambda x: path(x, beta), step_size=0.7)
    >>> result = annealed_importance_sampling(normal, path, kernel_at, torch.linspace(0, 1, 20), chains=1000)
    >>> abs(result.log_z - 0.2257914) < 3 * result.standard_error, result.unreliable
    (True, False)
    """
    betas = [float(beta) for beta in betas]
    _check(betas, chains)
    x = base.sample(chains, StepGenerators("annealing base", seed)())
    next_generator = StepGenerators("annealing", seed, device=x.device)
    log_weights = exact(torch.zeros(chains, device=x.device))
    for low, high in pairwise(betas):
        increment = _log_density(path, x, high) - _log_density(path, x, low)
        log_weights += increment.masked_fill(log_weights.isneginf(), 0)  # a weight of 0 stays 0
        if high < 1:
            kernel = kernel_at(high)
            x = kernel.step(kernel.state(x, kernel.cache(x)), next_generator()).x
    if bool((log_weights.isnan() | log_weights.isposinf()).any()) or bool(log_weights.isneginf().all()):
        raise RunError("a weight of annealed importance sampling is not finite, or all are 0; check the log-densities")
    size = weights_sample_size(log_weights)
    log_z, error = log_mean_exp(log_weights)
    reliable = size >= max(RELIABLE * chains, min(FEWEST, 0.999 * chains))  # equal weights are rounded
    return AnnealedEstimate(log_z, error if reliable else None, size, log_weights, x)


def _log_density(path: Path, x: Tensor, beta: float) -> Tensor:
    """The log-density of the path in float64."""
    values = path(x, beta)
    check_shape("the log-density of the path", values, (len(x),))
    return exact(values)


def _check(betas: list[float], chains: int) -> None:
    """Raise a ValueError unless β ascends from 0 to 1 and there are at least 2 chains."""
    ascends = all(low < high for low, high in pairwise(betas))
    if len(betas) < 2 or betas[0] != 0 or betas[-1] != 1 or not ascends:
        raise ValueError(f"betas must ascend from 0 to 1, got {len(betas)} values: {few([f'{b:g}' for b in betas])}")
    if chains < 2:
        raise ValueError(f"chains={chains} must be at least 2")
