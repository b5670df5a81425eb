"""Diagnostics of draws and of importance weights: R-hat, effective sample size and Pareto k, computed by arviz-stats.

arviz-stats is imported when a diagnostic is computed, because it imports scipy.stats.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

EssMethod = Literal["bulk", "tail", "mean"]

PARETO_WEIGHTS = 25
"""smallest number of weights from which Pareto k is estimated: the fit needs 5, a fifth of the weights"""


def rhat(values: Shaped[Tensor, "chains draws *shape"]) -> Float[Tensor, "*shape"]:
    """R-hat, rank-normalized and split: near 1 if the chains agree. Use chains only if it is below 1.01.

    Vehtari, Gelman, Simpson, Carpenter and Bürkner, "Rank-normalization, folding, and localization: an improved R-hat
    for assessing convergence of MCMC", 2021.

    Args:
        values: draws, (chains, draws, ...), of at least 2 chains and 4 draws.

    Returns:
        R-hat of each coordinate in float64; NaN for a coordinate that is constant.

    Raises:
        ValueError: if there are too few chains or draws.

    >>> draws = torch.randn(4, 100, 2, generator=torch.Generator().manual_seed(0))
    >>> draws[0, :, 1] += 3  # the second coordinate of chain 0 has another mean
    >>> rhat(draws) > 1.05
    tensor([False,  True])
    """
    from arviz_stats.base import array_stats

    _check_draws("R-hat", values, chains=2)
    with np.errstate(invalid="ignore"):  # 0 / 0 for a constant coordinate
        return torch.as_tensor(array_stats.rhat(_array(values), chain_axis=0, draw_axis=1))


def effective_sample_size(
    values: Shaped[Tensor, "chains draws *shape"], method: EssMethod = "bulk"
) -> Float[Tensor, "*shape"]:
    """The number of independent draws that would estimate as precisely as the draws of the chains.

    Vehtari et al., 2021 (see ``rhat``).

    Args:
        values: draws, (chains, draws, ...), of at least 4 draws.
        method: "bulk" for the center of the distribution, rank-normalized; "tail" for the smaller one of the 5% and the
            95% quantile; "mean" for the mean of the values.

    Returns:
        The effective sample size of each coordinate, over all chains, in float64.

    Raises:
        ValueError: if there are too few draws, or the method is not known.

    >>> walk = torch.randn(2, 500, generator=torch.Generator().manual_seed(0)).cumsum(1)
    >>> bool(effective_sample_size(walk) < 50)
    True
    """
    from arviz_stats.base import array_stats

    if method not in ("bulk", "tail", "mean"):
        raise ValueError(f"method={method!r} must be 'bulk', 'tail' or 'mean'")
    _check_draws("the effective sample size", values, chains=1)
    prob = (0.05, 0.95) if method == "tail" else None
    ess = array_stats.ess(_array(values), chain_axis=0, draw_axis=1, method=method, prob=prob)
    return torch.as_tensor(ess)


def pareto_k(log_weights: Float[Tensor, "n"]) -> float:
    """The shape k of a generalized Pareto distribution fitted to the largest importance weights.

    Estimates are reliable if k is below 0.7 and below 1 − 1 / log10 n. The weights have an infinite variance if k is
    above 0.5, and an infinite mean if it is above 1. Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto smoothed
    importance sampling", 2024. The fit is that of Zhang and Stephens, 2009.

    Args:
        log_weights: logarithms of at least 25 weights.

    Returns:
        k; −∞ if all of the largest weights are equal.

    Raises:
        ValueError: if there are too few weights.

    >>> uniform = (torch.arange(1000) + 0.5) / 1000
    >>> round(pareto_k(-0.7 * uniform.log()), 1)  # weights u^(-0.7), a Pareto distribution with k = 0.7
    0.7
    """
    from arviz_stats.base import array_stats

    if len(log_weights) < PARETO_WEIGHTS:
        raise ValueError(f"Pareto k needs at least {PARETO_WEIGHTS} weights, got {len(log_weights)}")
    weights = log_weights.detach().double().cpu()
    count = len(weights) // 5 if len(weights) <= 225 else int(3 * len(weights) ** 0.5)  # weights that are fitted
    largest = weights.topk(count).values
    if bool(largest[0] == largest[-1]):
        return -float("inf")
    return float(array_stats.psislw(-weights.numpy())[1])  # psislw takes the negative logarithms of weights


def _array(values: Tensor) -> np.ndarray:
    """The draws as a numpy array in float64."""
    return values.detach().double().cpu().numpy()


def _check_draws(name: str, values: Tensor, chains: int) -> None:
    """Raise a ValueError if there are too few chains or draws."""
    if values.ndim < 2 or values.shape[0] < chains or values.shape[1] < 4:
        raise ValueError(
            f"{name} needs draws (chains, draws, ...) with at least {chains} and 4 of them, "
            f"got shape {tuple(values.shape)}"
        )
