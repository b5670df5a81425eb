"""Temperature scaling: calibrates the probabilities of a classifier with one number."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.metrics.classification import predicts

BOUNDS = (1e-3, 1e3)
"""Smallest and largest temperature. They are reached only if almost all or almost no predictions are correct."""
_STEPS = 100


def fit_temperature(log_probs: Float[Tensor, "n classes"], labels: Int[Tensor, "n"]) -> float | None:
    r"""The temperature T that maximizes the likelihood of the labels. Above 1 the probabilities were overconfident.

    .. math:: \min_T \; -\frac1n \sum_i \log \operatorname{softmax}(z_i / T)_{y_i}

    Guo et al., "On calibration of modern neural networks", 2017, section 4.2. In :math:`\beta = 1/T` the loss is
    convex, with the derivative :math:`\mathrm{E}_p[z] - z_y` and the curvature :math:`\mathrm{Var}_p[z]`, so
    Newton's method finds the unique minimum. If a step would leave the bracket, the bracket is halved instead.

    Args:
        log_probs: log-probabilities of the classes for examples that the classifier was not trained on, (n, classes),
            or logits, which matter only up to a constant. Minus infinity, the logarithm of a probability that was
            rounded to 0, counts as the logarithm of the smallest number of its type, or as the smallest value of its
            row if that is less.
        labels: correct classes, (n,).

    Returns:
        T, within BOUNDS. None if every prediction is correct, because then the likelihood has no maximum, and if an
        example has no prediction, because a value is not finite.

    >>> sure = torch.tensor([[0.99, 0.01], [0.99, 0.01], [0.99, 0.01], [0.99, 0.01]])
    >>> t = fit_temperature(sure.log(), torch.tensor([0, 0, 0, 1]))
    >>> [round(p, 4) for p in cooled(sure.log(), t)[0].tolist()]  # three of four are correct
    [0.75, 0.25]
    """
    if not bool(predicts(log_probs).all()) or bool((log_probs.argmax(1) == labels).all()):
        return None
    z = _logits(log_probs)
    label_logits = z.gather(1, labels[:, None]).squeeze(1)
    low, high = 1 / BOUNDS[1], 1 / BOUNDS[0]
    beta = 1.0
    for _ in range(_STEPS):
        p = (beta * z).softmax(dim=1)
        mean = (p * z).sum(dim=1)
        slope = float((mean - label_logits).mean())
        curvature = float(((p * z.square()).sum(dim=1) - mean.square()).mean())
        low, high = (beta, high) if slope < 0 else (low, beta)
        newton_step = beta - slope / curvature if curvature > 0 else float("inf")
        next_beta = newton_step if low < newton_step < high else (low * high) ** 0.5
        if abs(next_beta - beta) <= 1e-12 * beta:
            break
        beta = next_beta
    return 1 / beta


def cooled(log_probs: Float[Tensor, "n classes"], temperature: float) -> Float[Tensor, "n classes"]:
    r"""The probabilities at another temperature, :math:`\operatorname{softmax}(\log p / T)`. Predictions do not change.

    Args:
        log_probs: log-probabilities of the classes, (n, classes), or logits.
        temperature: T.

    >>> cooled(torch.tensor([[0.8, 0.2]]).log(), 0.5)
    tensor([[0.9412, 0.0588]])
    """
    return (_logits(log_probs) / temperature).softmax(dim=1).to(log_probs.dtype)


def _logits(log_probs: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
    """Log-probabilities in float64, with a finite number in place of −∞, at most the smallest of its row."""
    zero = log_probs.isneginf()
    z = log_probs.double()
    z = torch.where(zero.any(1, keepdim=True), z.log_softmax(1), z)  # logits matter only up to a constant
    smallest = z.masked_fill(zero, torch.inf).amin(1, keepdim=True)
    return torch.where(zero, smallest.clamp(max=math.log(torch.finfo(log_probs.dtype).tiny)), z)
