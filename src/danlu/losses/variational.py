"""Terms of the evidence lower bound, in nats, summed over the values of an example.

Averaging over pixels instead divides the reconstruction term by their number, which is equivalent to a β of that
number. With sums over pixels and latent units, β = 1 gives the bound.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def bernoulli_log_prob(x: Float[Tensor, "*n_shape"], logits: Float[Tensor, "*n_shape"], batch_dims: int = 1) -> Tensor:
    r"""Log-probability of binary values, summed over all dimensions after the first ``batch_dims``.

    .. math:: \sum_j x_j \log p_j + (1 - x_j) \log(1 - p_j), \qquad p = \sigma(\text{logits})

    Kingma and Welling, "Auto-encoding variational Bayes", 2014, equation 11. For values between 0 and 1 it is the
    expectation over binary values drawn with probability x, and not a density of x.

    Args:
        x: values from 0 to 1.
        logits: log-odds of a 1.
        batch_dims: number of leading dimensions that are not summed.

    >>> bernoulli_log_prob(torch.ones(2, 3), torch.zeros(2, 3))
    tensor([-2.0794, -2.0794])
    """
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(batch_dims).sum(batch_dims)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_variance: Tensor | float, batch_dims: int = 1) -> Tensor:
    r"""Log-density of independent normal values, summed over all dimensions after the first ``batch_dims``.

    .. math:: -\tfrac12 \sum_j \left( \log 2\pi + \log \sigma_j^2 + (x_j - \mu_j)^2 / \sigma_j^2 \right)

    Kingma and Welling, "Auto-encoding variational Bayes", 2014, equation 12.

    Args:
        x: the values.
        mean: μ, in the shape of x.
        log_variance: log σ², in the shape of x, or a number.
        batch_dims: number of leading dimensions that are not summed.

    >>> gaussian_log_prob(torch.zeros(2, 3), torch.zeros(2, 3), 0.0)
    tensor([-2.7568, -2.7568])
    """
    log_var = torch.as_tensor(log_variance, dtype=x.dtype, device=x.device)
    terms = (x - mean).square() * (-log_var).exp() + log_var + math.log(2 * math.pi)
    return -0.5 * terms.flatten(batch_dims).sum(batch_dims)


def discretized_logistic_log_prob(
    x: Tensor, mean: Tensor, log_scale: Tensor | float, levels: int = 256, batch_dims: int = 1
) -> Tensor:
    r"""Log-probability of values on an equidistant grid from 0 to 1 under a discretized logistic distribution.

    .. math:: \sum_j \log\left[ \sigma\!\left(\tfrac{x_j + \delta/2 - \mu_j}{s_j}\right)
        - \sigma\!\left(\tfrac{x_j - \delta/2 - \mu_j}{s_j}\right) \right], \qquad \delta = \tfrac{1}{\text{levels} - 1}

    The grid points 0 and 1 include the tails. Kingma et al., "Improved variational inference with inverse
    autoregressive flow", 2016, appendix; Salimans et al., "PixelCNN++", 2017, equation 2.

    Args:
        x: the values, multiples of δ.
        mean: μ, in the shape of x.
        log_scale: log s, in the shape of x, or a number.
        levels: number of grid points, 256 for bytes.
        batch_dims: number of leading dimensions that are not summed.

    >>> steps = torch.linspace(0, 1, 256)[:, None]
    >>> discretized_logistic_log_prob(steps, torch.full_like(steps, 0.3), -2.0).exp().sum().round(decimals=4)
    tensor(1.)
    """
    log_scale = torch.as_tensor(log_scale, dtype=x.dtype, device=x.device)
    inverse_scale, half = (-log_scale).exp(), 0.5 / (levels - 1)
    above, below = (x - mean + half) * inverse_scale, (x - mean - half) * inverse_scale
    # log(σ(a) − σ(b)) = log(1 − exp(b − a)) − softplus(−a) − softplus(b), accurate also in the tails
    width = 2 * half * inverse_scale
    inner = torch.log(-torch.expm1(-width)) - F.softplus(-above) - F.softplus(below)
    terms = torch.where(x < half, F.logsigmoid(above), torch.where(x > 1 - half, -F.softplus(below), inner))
    return terms.flatten(batch_dims).sum(batch_dims)


def kl_to_standard_normal(mean: Float[Tensor, "*n d"], log_variance: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    r"""KL divergence of the posterior of each latent unit from the standard normal prior.

    .. math:: \mathrm{KL}(\mathcal N(\mu, \sigma^2) \,\|\, \mathcal N(0, 1))
        = \tfrac12 (\mu^2 + \sigma^2 - 1 - \log \sigma^2)

    The divergence of an example is the sum over its units. Kingma and Welling, "Auto-encoding variational Bayes", 2014,
    appendix B.

    Args:
        mean: μ.
        log_variance: log σ².

    >>> kl_to_standard_normal(torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2))
    tensor([[0., 2.]])
    """
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance)


def importance_bound(log_weights: Float[Tensor, "k *n"]) -> Float[Tensor, "*n"]:
    r"""Lower bound of log p(x) from k importance weights per example; k = 1 gives the evidence lower bound.

    .. math:: \log \frac1k \sum_{i=1}^k w_i, \qquad w_i = \frac{p(x, z_i)}{q(z_i \mid x)}, \quad z_i \sim q(z \mid x)

    Its expectation does not decrease with k. Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", 2016,
    equation 8.

    Args:
        log_weights: log w, in nats.

    >>> importance_bound(torch.tensor([[0.0], [0.0]]))
    tensor([0.])
    """
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def free_bits(kl: Float[Tensor, "n d"], minimum: float) -> Float[Tensor, "n"]:
    r"""KL divergence of each example, with at least λ nats counted for each unit.

    .. math:: \sum_j \max(\lambda, \; \tfrac1n \sum_i \mathrm{KL}_{ij})

    A unit whose mean over the batch is below λ has no gradient. Kingma et al., "Improved variational
    inference with inverse autoregressive flow", 2016, appendix C.8, with one unit per group.

    Args:
        kl: divergence of each example and unit.
        minimum: λ in nats.

    Returns:
        One value per example; the mean over the batch is the sum above.

    >>> free_bits(torch.tensor([[0.0, 3.0], [0.2, 1.0]]), 0.5)
    tensor([3.5000, 1.5000])
    """
    above_minimum = kl.mean(0, keepdim=True) > minimum
    return torch.where(above_minimum, kl, torch.full_like(kl, minimum)).sum(1)
