"""Temperature scaling: one number that makes the probabilities of a classifier as sure as they are right."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

BOUNDS = (1e-3, 1e3)
"""smallest and largest temperature; beyond them it says that nearly all or no guesses are right"""
_STEPS = 100


def fit_temperature(probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, "n"]) -> float | None:
    r"""The temperature T at which the labels are likeliest; above 1, the probabilities were too sure.

    .. math:: \min_T \; -\frac1n \sum_i \log \operatorname{softmax}(z_i / T)_{y_i}

    Guo et al., "On calibration of modern neural networks", 2017, section 4.2. In :math:`\beta = 1/T` the loss is
    convex, with the derivative :math:`\mathrm{E}_p[z] - z_y` and the curvature :math:`\mathrm{Var}_p[z]`, so that
    Newton's method finds the one minimum; where a step would leave the bracket, the bracket is halved.

    Args:
        probabilities: of each class, on examples that the classifier was not trained on; any softmax of the logits
            serves, for logits count up to a constant. What the type has rounded to 0 counts as its smallest number, so
            in float32 no class is farther than 87 nats behind another.
        labels: the right classes.

    Returns:
        T, within BOUNDS. None if every guess is right, for then there is no minimum: the surer the better.

    >>> sure = torch.tensor([[0.99, 0.01], [0.99, 0.01], [0.99, 0.01], [0.99, 0.01]])
    >>> t = fit_temperature(sure, torch.tensor([0, 0, 0, 1]))
    >>> [round(p, 4) for p in cooled(sure, t)[0].tolist()]  # right three times of four
    [0.75, 0.25]
    """
    if bool((probabilities.argmax(1) == labels).all()):
        return None
    z = _logits(probabilities)
    of_label = z.gather(1, labels[:, None]).squeeze(1)
    low, high = 1 / BOUNDS[1], 1 / BOUNDS[0]
    beta = 1.0
    for _ in range(_STEPS):
        p = (beta * z).softmax(dim=1)
        mean = (p * z).sum(dim=1)
        slope = float((mean - of_label).mean())
        curvature = float(((p * z.square()).sum(dim=1) - mean.square()).mean())
        low, high = (beta, high) if slope < 0 else (low, beta)
        wanted = beta - slope / curvature if curvature > 0 else float("inf")
        new = wanted if low < wanted < high else (low * high) ** 0.5
        if abs(new - beta) <= 1e-12 * beta:
            break
        beta = new
    return 1 / beta


def cooled(probabilities: Float[Tensor, "n classes"], temperature: float) -> Float[Tensor, "n classes"]:
    r"""The probabilities at another temperature, :math:`\operatorname{softmax}(\log p / T)`; the guesses stay.

    >>> cooled(torch.tensor([[0.8, 0.2]]), 0.5)
    tensor([[0.9412, 0.0588]])
    """
    return (_logits(probabilities) / temperature).softmax(dim=1).to(probabilities.dtype)


def _logits(probabilities: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
    """Logarithms, in float64; what was rounded to 0 is as small as the type can say."""
    smallest = torch.finfo(probabilities.dtype).tiny
    return probabilities.clamp_min(smallest).double().log()
