"""One-dimensional densities on a grid, and the divergences between them by numerical integration."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, distributions

from danlu.rng.keys import seeded

_Logs = Float[Tensor, "*more points"]
_Points = Float[Tensor, "points"]


def mixture(weights: list[float], means: list[float], deviations: list[float]) -> distributions.MixtureSameFamily:
    """A one-dimensional mixture of Gaussians, in float64.

    >>> mixture([0.5, 0.5], [-2.0, 2.0], [1.0, 1.0]).mean
    tensor(0., dtype=torch.float64)
    """
    probabilities, centers, scales = (
        torch.tensor(values, dtype=torch.float64) for values in (weights, means, deviations)
    )
    parts = distributions.Normal(centers, scales)
    return distributions.MixtureSameFamily(distributions.Categorical(probabilities), parts)


def draw_examples(p: distributions.Distribution, n: int, seed: int) -> Float[Tensor, "n 1"]:
    """Draw seeded examples from a one-dimensional distribution, in float32.

    >>> draw_examples(mixture([1.0], [3.0], [0.001]), 2, seed=0).round()
    tensor([[3.],
            [3.]])
    """
    with seeded("examples", seed):
        return p.sample((n,)).float()[:, None]


def divergence(log_p: _Logs, log_q: _Logs, x: _Points) -> Float[Tensor, "*more"]:
    r"""The Kullback–Leibler divergence in nats, by the trapezoidal rule.

    .. math:: \operatorname{KL}(p \Vert q) = \int p(x) \log \frac{p(x)}{q(x)} \, dx

    Args:
        log_p: log-density of p at the points.
        log_q: log-density of q at the points.
        x: the points, in ascending order.

    >>> x = torch.linspace(-12, 12, 2001, dtype=torch.float64)
    >>> one, other = (distributions.Normal(mean, 1.0).log_prob(x) for mean in (0.0, 2.0))
    >>> round(divergence(one, other, x).item(), 6)
    2.0
    """
    p = log_p.exp()
    return torch.trapezoid(torch.where(p > 0, p * (log_p - log_q), 0.0), x, dim=-1)


def jensen_shannon(log_p: _Logs, log_q: _Logs, x: _Points) -> Float[Tensor, "*more"]:
    r"""The Jensen–Shannon divergence in nats: 0 for equal densities, log 2 for disjoint ones.

    .. math:: \operatorname{JSD}(p, q) = \tfrac12 \operatorname{KL}(p \Vert m) + \tfrac12 \operatorname{KL}(q \Vert m),
        \qquad m = \tfrac12 (p + q)

    Args:
        log_p: log-density of p at the points.
        log_q: log-density of q at the points.
        x: the points, in ascending order.

    >>> x = torch.linspace(0, 2, 4001, dtype=torch.float64)
    >>> p, q = (torch.where(inside, 0.0, -torch.inf) for inside in (x < 1, x >= 1))
    >>> round(jensen_shannon(p, q, x).item(), 3)
    0.693
    """
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    return (divergence(log_p, log_m, x) + divergence(log_q, log_m, x)) / 2
