"""How good a model is, as its verbs allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from danlu.data.base.batch_stream import in_order
from danlu.data.base.dataset import DataInfo, Part, spread_over
from danlu.evaluation.text_scores import reads, text_scores
from danlu.metrics.classification import calibration, correct
from danlu.metrics.robustness import Robustness, under_noise, under_shift
from danlu.metrics.temperature import cooled
from danlu.rng.keys import generator
from danlu.verbs import can, has

Verb = Callable[[Tensor], Tensor]

BATCH = 500
BOUND_DRAWS, BOUNDED = 100, 1000
"""draws for the tighter bound of the log-likelihood, and of how many examples it is taken"""
SHIFTS, DEVIATIONS, STRAINED = (0, 1, 2, 3, 4), (0.0, 0.05, 0.1, 0.2, 0.4), 1000
"""what the robustness of a classifier is measured with: pixels, shares of the range, pictures"""


def measure(
    model: Any, part: Part, inputs: str = "image", flip: bool = False
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Scores of a model on a part of the data, and the evidence that the report draws.

    Args:
        model: any, on any device; each verb adds its scores.
        part: the examples.
        inputs: name of the field that the model sees.
        flip: whether a classifier sees each picture and its mirror image, and gives the mean of both answers.

    Returns:
        The scores by name, and tensors by name: the probabilities of a classifier.
    """
    scores: dict[str, float] = {}
    evidence: dict[str, Tensor] = {}
    if can(model, "classify") and "label" in part.fields:
        verb = flipped(model.classify) if flip else model.classify
        evidence["probabilities"] = _in_batches(model, verb, part, inputs)
        scores.update(classification_scores(evidence["probabilities"], part["label"]))
    if reads(model, part):
        scores.update(text_scores(model, part))
    if can(model, "log_prob_bound"):
        scores["elbo"] = bound(model, part, inputs, 1)
        scores[f"log_prob_bound_{BOUND_DRAWS}"] = bound(model, spread_over(part, BOUNDED), inputs, BOUND_DRAWS)
    if can(model, "reconstruct"):
        x = part[inputs].cpu()
        scores["squared_error"] = float((_in_batches(model, model.reconstruct, part, inputs) - x).square().mean())
    return scores, evidence


def bound(model: Any, part: Part, inputs: str, draws: int) -> float:
    """Mean lower bound of the log-likelihood in nats, from so many draws of each example, the same ones each time."""
    source = generator("bound", draws, device=next(model.parameters()).device)
    fixed = {"generator": source} if has(model, "generator") else {}
    bounds = _in_batches(model, lambda x: model.log_prob_bound(x, draws, **fixed), part, inputs)
    return float(bounds.double().mean())


def flipped(classify: Verb) -> Verb:
    """The mean of what is said of a picture and of its mirror image.

    >>> half = flipped(lambda x: x[:, 0, 0])
    >>> half(torch.tensor([[[[0.0, 1.0]]]]))
    tensor([[0.5000, 0.5000]])
    """
    return lambda x: (classify(x) + classify(x.flip(-1))) / 2


@torch.no_grad()
def robustness(model: Any, part: Part, info: DataInfo) -> tuple[Robustness, Robustness, int]:
    """Accuracy of a classifier of pictures under shifts and under noise, and on how many pictures it was measured.

    At most so many that it takes seconds, evenly spread over the part.
    """
    some = spread_over(part, STRAINED)
    count = len(some)
    weight = next(model.parameters())

    def classify(x: Tensor) -> Tensor:
        return torch.cat([model.classify(few.to(weight.device, weight.dtype)).cpu() for few in x.split(BATCH)])

    images, labels = some[info.inputs].cpu(), some["label"].cpu()
    reach = [step for step in SHIFTS if step < min(images.shape[2:])]
    shifted = under_shift(classify, images, labels, reach)
    return shifted, under_noise(classify, images, labels, DEVIATIONS, info.range), count


def classification_scores(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, top-5 accuracy (of more than five classes), cross-entropy in nats, expected calibration error."""
    of_label = probabilities.double().gather(1, labels[:, None]).clamp_min(torch.finfo(torch.float64).tiny)
    scores = {"accuracy": float(correct(probabilities, labels).double().mean())}
    if probabilities.shape[1] > 5:
        scores["top_5"] = float(correct(probabilities, labels, k=5).double().mean())
    scores["cross_entropy"] = float(-of_label.log().mean())
    scores["calibration_error"] = calibration(probabilities, labels).error
    return scores


def calibrated(probabilities: Tensor, labels: Tensor, temperature: float) -> dict[str, float]:
    """The calibration error that is left at a temperature that other examples were used to find."""
    return {"calibrated_error": calibration(cooled(probabilities, temperature), labels).error}


@torch.no_grad()
def _in_batches(model: Any, verb: Any, part: Part, inputs: str) -> Tensor:
    some = next(model.parameters())
    answers = [verb(batch[inputs].to(some.device, some.dtype)) for batch in in_order(part, BATCH)]
    return torch.cat(answers).cpu()
