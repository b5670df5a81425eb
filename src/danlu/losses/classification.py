"""Losses for class labels."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(
    logits: Float[Tensor, "n classes"],
    labels: Int[Tensor, "n"],
    smoothing: float = 0.0,
    class_weights: Float[Tensor, "classes"] | None = None,
) -> Float[Tensor, "n"]:
    r"""Cross-entropy: the negative log-probability of the correct class of each example, in nats.

    .. math:: \ell_i = -w_{y_i} \log p_{y_i}, \qquad p = \operatorname{softmax}(\text{logits}_i)

    With label smoothing :math:`\varepsilon` the target is :math:`(1-\varepsilon)` at the label plus
    :math:`\varepsilon / K` everywhere (Szegedy et al., "Rethinking the Inception architecture", 2016, section 7).
    The trainer divides weighted losses by the number of examples, not by the sum of the weights.

    Args:
        logits: unnormalized log-probabilities.
        labels: class indices.
        smoothing: label smoothing ε, from 0 to 1.
        class_weights: weight of each class.

    >>> cross_entropy(torch.zeros(2, 10), torch.tensor([3, 7]))
    tensor([2.3026, 2.3026])
    """
    return F.cross_entropy(logits, labels, weight=class_weights, label_smoothing=smoothing, reduction="none")
