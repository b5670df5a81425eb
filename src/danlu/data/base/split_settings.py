"""Settings of the split of a data set into parts."""

from __future__ import annotations

from pydantic import model_validator

from danlu.data.base.page import Fraction, Page


class Split(Page):
    """How examples are split into parts if a data set has no official parts."""

    seed: int = 0
    """seed of the random split, if there is no official one"""
    validation: Fraction = 0.1
    """fraction of the examples for validation; with an official test part, fraction of the official training part"""
    test: Fraction = 0.2
    """fraction of the examples for the test, if there is no official test part"""

    @model_validator(mode="after")
    def _train_is_not_empty(self) -> Split:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test must be less than 1, got {self.validation + self.test:g}")
        return self


def part_fractions(split: Split) -> tuple[float, float, float]:
    """The fractions of the three parts: train, validation, test.

    >>> part_fractions(Split(validation=0.25, test=0.25))
    (0.5, 0.25, 0.25)
    """
    return 1 - split.validation - split.test, split.validation, split.test
