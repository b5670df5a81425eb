"""The statistics of a data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Survey:
    """Statistics of a data set.

    Attributes:
        examples: number of examples of each part.
        classes: number of examples of each class in each part, in the order of the labels.
        inputs: name of the field that is the input of a model.
        channels: for each channel or column of the training part: name, minimum, maximum, mean, standard deviation.
        repeated: number of examples that are in two parts ("train and test"), or repeat an earlier one of their part.
        constant: names of constant columns of the training part; for images, the number of constant pixels.
        problems: possible problems, as messages.
        text: for running text, the result of ``text_statistics``; an example is then a token.
    """

    examples: dict[str, int]
    classes: dict[str, list[int]]
    inputs: str
    channels: list[dict[str, Any]]
    repeated: dict[str, int]
    constant: list[str]
    problems: list[str] = field(default_factory=list)
    text: dict[str, Any] = field(default_factory=dict)
