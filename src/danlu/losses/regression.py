"""Losses for numbers."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def squared_error(predicted: Float[Tensor, "n"], target: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    r"""Half the squared error, :math:`\tfrac12 (\hat y - y)^2`.

    >>> squared_error(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor([0., 2.])
    """
    return (predicted - target).square() / 2


def huber(predicted: Float[Tensor, "n"], target: Float[Tensor, "n"], delta: float = 1.0) -> Float[Tensor, "n"]:
    r"""The Huber loss: half the squared error up to δ, and linear beyond. Huber, "Robust estimation of a location
    parameter", 1964.

    .. math:: \ell = \tfrac12 r^2 \text{ if } |r| \le \delta, \qquad
        \delta \, (|r| - \tfrac12 \delta) \text{ otherwise}, \qquad r = \hat y - y

    Args:
        predicted: the predicted numbers.
        target: the true numbers.
        delta: the error δ, above 0, from which the loss is linear.

    >>> huber(torch.tensor([1.0, 4.0]), torch.tensor([0.5, 1.0]), delta=1.0)
    tensor([0.1250, 2.5000])
    """
    return F.huber_loss(predicted, target, reduction="none", delta=delta)


def gaussian_nll(
    mean: Float[Tensor, "n"], log_variance: Float[Tensor, "n"], target: Float[Tensor, "n"]
) -> Float[Tensor, "n"]:
    r"""Negative log-density of a normal distribution in nats, with the constant.

    .. math:: \ell = \tfrac12 \left( \log 2 \pi + \log \sigma^2 + (y - \mu)^2 / \sigma^2 \right)

    Args:
        mean: mean μ of each example.
        log_variance: logarithm of the variance σ² of each example.
        target: the true numbers.

    >>> gaussian_nll(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    tensor([0.9189])
    """
    return (math.log(2 * math.pi) + log_variance + (target - mean).square() * (-log_variance).exp()) / 2
