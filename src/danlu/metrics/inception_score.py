"""The Inception Score."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class InceptionScore(NamedTuple):
    """Inception Score over consecutive splits of the samples.

    Attributes:
        mean: mean over the splits; between 1 and the number of classes, higher is better.
        deviation: standard deviation over the splits.
    """

    mean: float
    deviation: float


def inception_score(probabilities: Float[Tensor, "n classes"], splits: int = 1) -> InceptionScore:
    r"""The exponential of the mean KL divergence between the class distribution of a sample and that of all samples.

    .. math:: \exp \mathbb E_x \operatorname{KL}\bigl(p(y \mid x) \,\Vert\, p(y)\bigr), \qquad
        p(y) = \mathbb E_x \, p(y \mid x)

    Salimans et al., "Improved techniques for training GANs", 2016, section 4; published scores use 10 splits of
    50 000 samples. The score depends on samples only, not on data: one image per class reaches the maximum.

    Args:
        probabilities: class probabilities of each sample, (n, classes).
        splits: number of parts that are scored separately.

    Returns:
        NaN if a probability is NaN.

    Raises:
        ValueError: if rows are not probabilities, or there are fewer samples than splits.

    >>> round(inception_score(torch.eye(10)).mean, 6), round(inception_score(torch.full((5, 10), 0.1)).mean, 6)
    (10.0, 1.0)
    """
    p = probabilities.double()
    if p.ndim != 2 or not 1 <= splits <= len(p):
        raise ValueError(f"probabilities {tuple(p.shape)} must be (n, classes), with n at least splits={splits}")
    if bool(p.isnan().any()):
        return InceptionScore(float("nan"), float("nan"))
    if not bool((p >= 0).all()) or not bool(((p.sum(1) - 1).abs() < 1e-3).all()):
        raise ValueError("rows must be probabilities that sum to 1, not logits; take their softmax")
    scores = torch.stack([_score(part) for part in p.tensor_split(splits)])
    return InceptionScore(float(scores.mean()), float(scores.std(correction=0)))


def _score(p: Float[Tensor, "n classes"]) -> Float[Tensor, ""]:
    """exp of the mean KL divergence: the mean of Σ p log p minus Σ q log q, with q the mean of p."""
    q = p.mean(0)
    return (torch.xlogy(p, p).sum(1).mean() - torch.xlogy(q, q).sum()).exp()
