"""Supervised classification: one player, one turn, cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from danlu.data.base.batch_stream import Batch
from danlu.losses.classification import cross_entropy
from danlu.metrics.classification import accuracies
from danlu.tasks.task import Descend, Task, Terms, Turn


class Supervised(Task):
    """Train a classifier with cross-entropy.

    Args:
        classifier: maps ``batch["image"]`` to logits, (n, classes).
        smoothing: label smoothing, 0 to 1.
        class_weights: weight of each class in the loss, or None for equal weights.
        inputs: name of the batch field with the examples.

    Raises:
        ValueError: if smoothing is outside [0, 1) or a weight is negative.

    >>> task = Supervised(nn.Linear(4, 2), inputs="x")
    >>> batch = Batch({"x": torch.zeros(3, 4), "label": torch.tensor([0, 1, 1])}, slice(0, 3), 3, torch.arange(3))
    >>> {name: term.shape for name, term in task.fit(batch).items()}
    {'cross_entropy': torch.Size([3])}
    """

    class_weights: Tensor | None
    better: Mapping[str, str] = {"accuracy": "higher", "cross_entropy": "lower"}
    replayable = True
    mixes: ClassVar = True

    def __init__(
        self,
        classifier: nn.Module,
        smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        inputs: str = "image",
    ):
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing={smoothing} must be at least 0 and less than 1")
        if class_weights is not None and min(class_weights, default=-1) < 0:
            raise ValueError(f"class_weights={tuple(class_weights)} must be one number per class, each at least 0")
        if class_weights is not None and not any(class_weights):
            raise ValueError("class_weights are all 0, so no example has an effect; set at least one of them above 0")
        self.classifier = classifier
        self.smoothing = smoothing
        self.inputs = inputs
        self.register_buffer(
            "class_weights", None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        )

    @property
    def model(self) -> nn.Module:
        return self.classifier

    def players(self) -> dict[str, nn.Module]:
        return {"classifier": self.classifier}

    def turns(self, round: int) -> list[Turn]:
        return [Descend("classifier", self.fit)]

    def fit(self, batch: Batch) -> Terms:
        """Cross-entropy with smoothing and class weights; mixed images have two labels, weighted by their fractions."""
        logits = self.classifier(batch[self.inputs])
        own = cross_entropy(logits, batch["label"], self.smoothing, self.class_weights)
        if "other_label" in batch.fields:
            other = cross_entropy(logits, batch["other_label"], self.smoothing, self.class_weights)
            own = other.lerp(own, batch["label_weight"].to(own.dtype))
        return {"cross_entropy": own}

    def scores(self, batch: Batch) -> Terms:
        """Accuracy, and cross-entropy without smoothing or weights."""
        logits, labels = self.classifier(batch[self.inputs]), batch["label"]
        return {"accuracy": accuracies(logits, labels), "cross_entropy": cross_entropy(logits, labels)}
