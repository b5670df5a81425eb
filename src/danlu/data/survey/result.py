"""The result of a survey."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Survey:
    """A data set in numbers.

    Attributes:
        examples: how many each part has.
        classes: how many of each class each part has, in the order of the labels.
        inputs: name of the field that a model sees.
        channels: for each channel or column of the training part: name, smallest and largest value, mean, deviation.
        repeated: how many examples of a part are also in another ("train and test") or earlier in the same one.
        constant: columns, or for images the number of pixels, that hardly vary over the training part.
        problems: what the user should know, in words.
        text: for running text, what ``text_statistics`` returns; an example is a token then.
    """

    examples: dict[str, int]
    classes: dict[str, list[int]]
    inputs: str
    channels: list[dict[str, Any]]
    repeated: dict[str, int]
    constant: list[str]
    problems: list[str] = field(default_factory=list)
    text: dict[str, Any] = field(default_factory=dict)
