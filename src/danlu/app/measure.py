"""How good a model is, as its verbs allow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.data.dataset import Part
from danlu.data.stream import in_order
from danlu.metrics.classification import calibration, correct
from danlu.verbs import can


def measure(model: Any, part: Part, inputs: str = "image") -> tuple[dict[str, float], dict[str, Tensor]]:
    """Scores of a model on a part of the data, and the evidence that the report draws.

    Args:
        model: any, on any device; each verb adds its scores.
        part: the examples.
        inputs: name of the field that the model sees.

    Returns:
        The scores by name, and tensors by name: the probabilities of a classifier.
    """
    scores: dict[str, float] = {}
    evidence: dict[str, Tensor] = {}
    if can(model, "classify") and "label" in part.fields:
        evidence["probabilities"] = _in_batches(model, model.classify, part, inputs)
        scores.update(classification_scores(evidence["probabilities"], part["label"]))
    return scores, evidence


def classification_scores(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, top-5 accuracy (of more than five classes), cross-entropy in nats, expected calibration error."""
    of_label = probabilities.double().gather(1, labels[:, None]).clamp_min(torch.finfo(torch.float64).tiny)
    scores = {"accuracy": float(correct(probabilities, labels).double().mean())}
    if probabilities.shape[1] > 5:
        scores["top_5"] = float(correct(probabilities, labels, k=5).double().mean())
    scores["cross_entropy"] = float(-of_label.log().mean())
    scores["calibration_error"] = calibration(probabilities, labels).error
    return scores


@torch.no_grad()
def _in_batches(model: Any, verb: Any, part: Part, inputs: str, batch_size: int = 500) -> Tensor:
    some = next(model.parameters())
    answers = [verb(batch[inputs].to(some.device, some.dtype)) for batch in in_order(part, batch_size)]
    return torch.cat(answers).cpu()
