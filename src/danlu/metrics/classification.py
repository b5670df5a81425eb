"""Accuracy, confusion matrix and calibration of class probabilities."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def correct(probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, "n"], k: int = 1) -> Bool[Tensor, "n"]:
    """Whether the correct class is among the k most probable ones. The mean is the top-k accuracy.

    Args:
        probabilities: probability of each class, or any scores with the same order, (n, classes).
        labels: correct classes, (n,).
        k: number of predictions per example.

    >>> correct(torch.tensor([[0.2, 0.8], [0.6, 0.4]]), torch.tensor([1, 1]))
    tensor([ True, False])
    """
    if k == 1:
        return probabilities.argmax(dim=1) == labels
    k = min(k, probabilities.shape[1])
    return (probabilities.topk(k, dim=1).indices == labels[:, None]).any(dim=1)


def confusion_matrix(predictions: Int[Tensor, "n"], labels: Int[Tensor, "n"], classes: int) -> Int[Tensor, "k k"]:
    """Count the examples of each class (row) that were predicted as each class (column).

    Args:
        predictions: predicted classes, (n,).
        labels: correct classes, (n,).
        classes: number k of classes.

    Returns:
        counts, (k, k).

    >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]), classes=2)
    tensor([[1, 1],
            [0, 1]])
    """
    return torch.bincount(labels * classes + predictions, minlength=classes**2).view(classes, classes)


class Calibration(NamedTuple):
    """Mean confidence and accuracy in bins of confidence.

    Attributes:
        confidence: mean probability of the predicted class in each bin; NaN in an empty bin.
        accuracy: fraction of correct predictions in each bin; NaN in an empty bin.
        counts: number of examples in each bin.
        error: the expected calibration error.
    """

    confidence: Float[Tensor, "bins"]
    accuracy: Float[Tensor, "bins"]
    counts: Int[Tensor, "bins"]
    error: float


def calibration(probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, "n"], bins: int = 15) -> Calibration:
    r"""Compare the confidence of predictions with their accuracy.

    .. math:: \mathrm{ECE} = \sum_b \frac{|B_b|}{n} \, \bigl| \mathrm{acc}(B_b) - \mathrm{conf}(B_b) \bigr|

    with bins of equal width :math:`((b-1)/M, b/M]`. Guo et al., "On calibration of modern neural networks", 2017,
    equation 3.

    Args:
        probabilities: probability of each class, (n, classes).
        labels: correct classes, (n,).
        bins: number M of bins.

    >>> round(calibration(torch.tensor([[0.9, 0.1], [0.1, 0.9]]), torch.tensor([0, 0]), bins=10).error, 6)
    0.4
    """
    confidence, predictions = probabilities.double().max(dim=1)
    hits = (predictions == labels).double()
    bin_index = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    count = torch.bincount(bin_index, minlength=bins)
    mean_confidence = torch.bincount(bin_index, confidence, minlength=bins) / count
    accuracy = torch.bincount(bin_index, hits, minlength=bins) / count
    gaps = (accuracy - mean_confidence).abs().nan_to_num() * count
    return Calibration(mean_confidence, accuracy, count, float(gaps.sum() / len(labels)))
