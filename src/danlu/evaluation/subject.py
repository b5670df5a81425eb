"""The subject of an evaluation (a trained model and a part of a data set), and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from danlu.data.base.dataset import DataInfo, DataSet, Part, PartName
from danlu.evaluation.generative_scores import GenerativeScorer


@dataclass(frozen=True)
class Subject:
    """A model and the examples on which it is evaluated.

    Attributes:
        model: in evaluation mode, on any device.
        data: the data set.
        part: the part whose examples are used, or "generated" for examples that the model generates.
        flip: whether the outputs of a classifier for each image and its mirror image are averaged.
        temperature: temperature of a classifier, fitted on the validation part; None if there is none yet.
        scorer: scores generated examples; required for "generated" only.
        count: number of examples to generate; by default that of the scorer.
        detailed: whether to compute slow evidence that only a report shows.
    """

    model: Any
    data: DataSet
    part: PartName | Literal["generated"]
    flip: bool = False
    temperature: float | None = None
    scorer: GenerativeScorer | None = None
    count: int | None = None
    detailed: bool = False

    @property
    def examples(self) -> Part:
        """The examples of the part; none for "generated"."""
        return self.data.train.take(torch.arange(0)) if self.part == "generated" else self.data.part(self.part)

    @property
    def info(self) -> DataInfo:
        """The description of the examples."""
        return self.data.info


@dataclass
class Evaluation:
    """The result of the evaluators.

    Attributes:
        scores: scores, by name. ``not_finite`` exists only if a verb gave NaN or infinity for some examples: it is the
            largest number of such examples of a verb. The scores of the verb are then NaN or infinite.
        evidence: data for the sections of a report, by name; ``evaluators`` documents each.
    """

    scores: dict[str, float] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)

    def count_not_finite(self, finite: Bool[Tensor, "n"]) -> None:
        """Add the score ``not_finite`` if the outputs for some examples are not finite.

        Args:
            finite: whether the outputs for each example are finite, (n,).

        >>> evaluation = Evaluation()
        >>> evaluation.count_not_finite(torch.tensor([True, True]))
        >>> evaluation.count_not_finite(torch.tensor([True, False]))
        >>> evaluation.scores
        {'not_finite': 1.0}
        """
        count = float((~finite).sum())
        if count:
            self.scores["not_finite"] = max(count, self.scores.get("not_finite", 0.0))
