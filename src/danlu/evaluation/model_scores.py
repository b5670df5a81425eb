"""Scores of a model on a part of the data: classification, bounds of the likelihood, reconstruction, robustness."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from danlu.data.base.batch_stream import in_order
from danlu.data.base.dataset import DataInfo, Part, spread_over
from danlu.data.base.density import fixed_noise
from danlu.metrics.classification import accuracies, calibration
from danlu.metrics.robustness import Robustness, under_noise, under_shift
from danlu.metrics.temperature import cooled
from danlu.rng.keys import generator
from danlu.tasks.likelihood import is_dequantized, log_likelihood
from danlu.verbs import has

Verb = Callable[[Tensor], Tensor]

BATCH = 500
BOUND_DRAWS, BOUND_EXAMPLES = 100, 1000
"""draws per example for the tighter bound of the log-likelihood, and number of examples for it"""
SHIFTS, DEVIATIONS, ROBUSTNESS_IMAGES = (0, 1, 2, 3, 4), (0.0, 0.05, 0.1, 0.2, 0.4), 500
"""robustness of a classifier: shifts in pixels, standard deviations of noise relative to the range, number of images"""


def class_log_probs(model: Any, part: Part, inputs: str, flip: bool = False) -> Tensor:
    """The log-probability of each class for each example, (n, classes), on the CPU.

    Args:
        model: a classifier. Without the capability ``class_log_probs``, the result is the logarithm of ``classify``.
        part: the examples.
        inputs: name of the field with the inputs of the model.
        flip: whether to average the probabilities for each image and its mirror image.
    """
    verb = model.class_log_probs if has(model, "class_log_probs") else lambda x: model.classify(x).log()
    return _in_batches(model, flipped_log_probs(verb) if flip else verb, part, inputs)


def predictions(model: Any, part: Part, inputs: str, flip: bool = False) -> Tensor:
    """The output of ``predict`` for each example, (n, 1) or (n, 2), on the CPU.

    Args:
        model: a model with the verb ``predict``.
        part: the examples.
        inputs: name of the field with the inputs of the model.
        flip: whether to average the outputs for each image and its mirror image.
    """
    return _in_batches(model, flipped(model.predict) if flip else model.predict, part, inputs)


def squared_errors(model: Any, part: Part, inputs: str) -> Tensor:
    """Mean squared error over the values of the reconstruction of each example, (n,), on the CPU."""
    x = part[inputs].cpu()
    return (_in_batches(model, model.reconstruct, part, inputs) - x).square().flatten(1).mean(1)


def bounds(model: Any, part: Part, inputs: str, draws: int) -> Tensor:
    """Lower bound of the log-likelihood of each example in nats, (n,), from ``draws`` draws, on the CPU.

    The draws are the same in each call.
    """
    source = generator("bound", draws, device=next(model.parameters()).device)
    options = {"generator": source} if has(model, "generator") else {}
    return _in_batches(model, lambda x: model.log_prob_bound(x, draws, **options), part, inputs)


def log_likelihoods(model: Any, part: Part, info: DataInfo, given_label: bool = False) -> Tensor:
    """Log-likelihood of each example in nats, or its lower bound by dequantization, (n,), on the CPU, in float64.

    Args:
        model: a model with the verb ``log_prob``.
        part: the examples.
        info: the description of the examples.
        given_label: whether a class-conditional model gets the label; otherwise the classes are summed.
    """
    weight, noisy, nats = next(model.parameters()), is_dequantized(model, info), []
    for batch in in_order(part, BATCH):
        x = batch[info.inputs].to(weight.device, weight.dtype)
        labels = batch["label"].to(weight.device) if given_label else None
        noise = fixed_noise(x, batch.numbers) if noisy else None
        with torch.no_grad():
            nats.append(log_likelihood(model, x, noise, info, labels).double().cpu())
    return torch.cat(nats)


def flipped(classify: Verb) -> Verb:
    """The mean of a verb's outputs for an image and for its mirror image.

    >>> half = flipped(lambda x: x[:, 0, 0])
    >>> half(torch.tensor([[[[0.0, 1.0]]]]))
    tensor([[0.5000, 0.5000]])
    """
    return lambda x: (classify(x) + classify(x.flip(-1))) / 2


def flipped_log_probs(log_probs: Verb) -> Verb:
    """The logarithm of the mean probabilities for an image and for its mirror image, from their logarithms."""
    return lambda x: log_probs(x).logaddexp(log_probs(x.flip(-1))) - math.log(2)


@torch.no_grad()
def robustness(model: Any, part: Part, info: DataInfo) -> tuple[Robustness, Robustness, int]:
    """Accuracy of an image classifier under shifts and under noise, and the number of images it was measured on.

    At most 500 images, evenly spread over the part.
    """
    examples = spread_over(part, ROBUSTNESS_IMAGES)
    count = len(examples)
    weight = next(model.parameters())

    def classify(x: Tensor) -> Tensor:
        return torch.cat([model.classify(batch.to(weight.device, weight.dtype)).cpu() for batch in x.split(BATCH)])

    images, labels = examples[info.inputs].cpu(), examples["label"].cpu()
    shifts = [shift for shift in SHIFTS if shift < min(images.shape[2:])]
    shifted = under_shift(classify, images, labels, shifts)
    return shifted, under_noise(classify, images, labels, DEVIATIONS, info.range), count


def classification_scores(log_probs: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, top-5 accuracy (of more than five classes), cross-entropy in nats, expected calibration error.

    Args:
        log_probs: log-probability of each class, (n, classes). If a row is not finite, the scores are NaN.
        labels: correct classes, (n,).
    """
    scores = {"accuracy": float(accuracies(log_probs, labels).double().mean())}
    if log_probs.shape[1] > 5:
        scores["top_5"] = float(accuracies(log_probs, labels, k=5).double().mean())
    scores["cross_entropy"] = float(-log_probs.gather(1, labels[:, None]).double().mean())
    scores["calibration_error"] = calibration(log_probs.exp(), labels).error
    return scores


def calibrated(log_probs: Tensor, labels: Tensor, temperature: float) -> dict[str, float]:
    """The calibration error with a temperature that was fitted on other examples."""
    return {"calibrated_error": calibration(cooled(log_probs, temperature), labels).error}


@torch.no_grad()
def _in_batches(model: Any, verb: Any, part: Part, inputs: str) -> Tensor:
    weight = next(model.parameters())
    outputs = [verb(batch[inputs].to(weight.device, weight.dtype)) for batch in in_order(part, BATCH)]
    return torch.cat(outputs).cpu()
