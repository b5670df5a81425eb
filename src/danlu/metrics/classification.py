"""Accuracy, confusion matrix and calibration of class probabilities."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def correct(probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, "n"], k: int = 1) -> Bool[Tensor, "n"]:
    """Whether the correct class is among the k most probable ones.

    Args:
        probabilities: probability of each class, or any scores with the same order, (n, classes). A row without a
            prediction (see ``predicts``) is not correct.
        labels: correct classes, (n,).
        k: number of predictions per example.

    >>> correct(torch.tensor([[0.2, 0.8], [0.6, 0.4]]), torch.tensor([1, 1]))
    tensor([ True, False])
    """
    if k == 1:
        hits = probabilities.argmax(dim=1) == labels
    else:
        k = min(k, probabilities.shape[1])
        hits = (probabilities.topk(k, dim=1).indices == labels[:, None]).any(dim=1)
    return hits & predicts(probabilities)


def predicts(probabilities: Float[Tensor, "n classes"]) -> Bool[Tensor, "n"]:
    """Whether the scores of the classes give a prediction: none is NaN, and the largest is finite.

    Args:
        probabilities: probability of each class, or any scores with the same order, (n, classes). A logarithm may be
            minus infinity.

    >>> predicts(torch.tensor([[0.2, 0.8], [0.2, torch.nan], [-torch.inf, 0.0], [torch.inf, 0.0]]))
    tensor([ True, False,  True, False])
    """
    return probabilities.amax(dim=1).isfinite()  # NaN is larger than all numbers


def accuracies(probabilities: Float[Tensor, "n classes"], labels: Int[Tensor, "n"], k: int = 1) -> Float[Tensor, "n"]:
    """1 for a correct prediction, 0 for a wrong one, NaN for a row without a prediction; the mean is the accuracy.

    Args:
        probabilities: probability of each class, or any scores with the same order, (n, classes).
        labels: correct classes, (n,).
        k: number of predictions per example.

    >>> accuracies(torch.tensor([[0.2, 0.8], [0.6, 0.4], [torch.nan, 0.4]]), torch.tensor([1, 1, 0]))
    tensor([1., 0., nan])
    """
    return correct(probabilities, labels, k).float().masked_fill(~predicts(probabilities), torch.nan)


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
        error: the expected calibration error; NaN if an example has no prediction, which is in no bin.
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
    valid = predicts(probabilities)
    confidence, hits = confidence[valid], (predictions == labels)[valid].double()
    bin_index = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    count = torch.bincount(bin_index, minlength=bins)
    mean_confidence = torch.bincount(bin_index, confidence, minlength=bins) / count
    accuracy = torch.bincount(bin_index, hits, minlength=bins) / count
    gaps = (accuracy - mean_confidence).abs().nan_to_num() * count
    error = float(gaps.sum() / len(labels)) if bool(valid.all()) else float("nan")
    return Calibration(mean_confidence, accuracy, count, error)
