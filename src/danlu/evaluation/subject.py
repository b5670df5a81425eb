"""What is evaluated: a trained model on one part of a data set, and what its evaluation gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from danlu.data.base.dataset import DataInfo, DataSet, Part, PartName
from danlu.evaluation.generative_scores import GenerativeScorer


@dataclass(frozen=True)
class Subject:
    """A model and the examples on which it is evaluated.

    Attributes:
        model: in evaluation mode, on any device.
        data: the data set.
        part: the part whose examples are used, or "generated" for examples that the model generates.
        flip: whether a classifier sees each image and its mirror image, and gives the mean of both outputs.
        temperature: of a classifier, as fitted on the validation part; None if there is none yet.
        scorer: scores generated examples; needed for "generated" only.
        count: number of examples to generate; that of the scorer if not given.
        detailed: whether to compute evidence that takes time and that only a report shows.
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
        """What an example is."""
        return self.data.info


@dataclass
class Evaluation:
    """What the evaluators computed.

    Attributes:
        scores: each score by name.
        evidence: what the sections of a report are made from, by name; ``evaluators`` says which one gives what.
    """

    scores: dict[str, float] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)
