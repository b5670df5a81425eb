"""Cutting one set of examples into parts that share none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float64, Int
from pydantic import model_validator
from torch import Tensor

from danlu.data.base.dataset import PARTS
from danlu.data.base.page import Fraction, Page
from danlu.errors import UsageError
from danlu.rng.keys import generator

_ROUNDING = 1e-9  # what a share times a number of examples may miss a whole number by


class Split(Page):
    """How examples are parted where a data set has no official parts."""

    seed: int = 0
    """seed of the random split, if there is no official one"""
    validation: Fraction = 0.1
    """fraction of the examples for validation; of the training part, if the test part is official"""
    test: Fraction = 0.2
    """fraction of the examples for the test, if there is no official test part"""

    @model_validator(mode="after")
    def _something_is_left(self) -> Split:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave something to train on")
        return self


def part_fractions(split: Split) -> tuple[float, float, float]:
    """The shares of the three parts: train, validation, test.

    >>> part_fractions(Split(validation=0.25, test=0.25))
    (0.5, 0.25, 0.25)
    """
    return 1 - split.validation - split.test, split.validation, split.test


def stratified_split(
    labels: Int[Tensor, "n"], shares: tuple[float, ...], seed: int = 0
) -> tuple[Int[Tensor, "..."], ...]:
    """Numbers of the examples of each part; every class is shared out alike, up to one example.

    The sizes of the parts are the shares of all examples by largest remainders, so that many small classes do not each
    round a small part to nothing.

    Args:
        labels: class of each example.
        shares: size of each part as a share of all, summing to 1.
        seed: which split.

    Returns:
        For each part the numbers of its examples, ascending.

    Raises:
        ValueError: if the shares do not sum to 1.

    >>> a, b = stratified_split(torch.tensor([0, 0, 0, 0, 1, 1]), (0.5, 0.5))
    >>> len(a), len(b)
    (3, 3)
    >>> [len(part) for part in stratified_split(torch.arange(30) // 3, (0.7, 0.1, 0.2))]  # ten classes of three
    [21, 3, 6]
    """
    if abs(sum(shares) - 1) > 1e-9 or min(shares) < 0:
        raise ValueError(f"shares={shares} must be at least 0 and sum to 1, and sum to {sum(shares)}")
    classes, sizes = labels.unique(return_counts=True)
    parts: list[list[Tensor]] = [[labels.new_empty(0)] for _ in shares]
    for label, counts in zip(classes.tolist(), _counts(sizes, shares).tolist(), strict=True):
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator("split", seed, label))]
        for part, some in zip(parts, members.split(counts), strict=True):
            part.append(some)
    return tuple(torch.cat(part).sort().values for part in parts)


def check_parts(what: str, sizes: Iterable[int], shares: Iterable[float]) -> None:
    """Every part that was given a share has an example.

    Args:
        what: was split, in words.
        sizes: examples of each part, in the order of ``PARTS``.
        shares: of each part.

    Raises:
        UsageError: if one has none.

    >>> check_parts("t.csv", (2, 0, 0), (0.9, 0.1, 0.0))
    Traceback (most recent call last):
    danlu.errors.UsageError: t.csv: of 2 examples none is left for the validation part at a share of 0.1; add examples,
    or change --split.validation
    """
    sizes = tuple(sizes)
    for name, size, share in zip(PARTS, sizes, shares, strict=False):
        if share and not size:
            flags = "--split.validation and --split.test" if name == "train" else f"--split.{name}"
            raise UsageError(
                f"{what}: of {sum(sizes):,} examples none is left for the {name} part at a share of {share:g}; "
                f"add examples, or change {flags}"
            )


def _counts(sizes: Int[Tensor, "classes"], shares: tuple[float, ...]) -> Int[Tensor, "classes parts"]:
    """How many examples of each class each part gets: no entry is further than 1 from its exact share.

    Every entry is rounded down; the examples that are left of a class go to different parts. A part takes what it lacks
    from the classes that have most left, and among these from those of the largest remainders: taken from the classes
    with most left, a table of zeros and ones with given sums comes out whenever there is one (Ryser, "Combinatorial
    properties of matrices of zeros and ones", 1957).
    """
    exact = sizes[:, None].double() * torch.tensor(shares, dtype=torch.float64)
    counts = (exact + _ROUNDING).floor().long()
    lacking = _largest_remainders(exact.sum(0)) - counts.sum(0)
    left = sizes - counts.sum(1)
    for part in lacking.argsort(stable=True).tolist():
        by_remainder = (exact - counts)[:, part].argsort(descending=True, stable=True)
        taken = by_remainder[left[by_remainder].argsort(descending=True, stable=True)][: lacking[part]]
        counts[taken, part] += 1
        left[taken] -= 1
    return counts


def _largest_remainders(exact: Float64[Tensor, "parts"]) -> Int[Tensor, "parts"]:
    """Whole numbers with the same sum, each rounded down or up: up where most would be cut off.

    >>> _largest_remainders(torch.tensor([2.1, 0.3, 0.6], dtype=torch.float64))
    tensor([2, 0, 1])
    """
    whole = (exact + _ROUNDING).floor().long()
    missing = int(exact.sum().round()) - int(whole.sum())
    whole[(exact - whole).argsort(descending=True, stable=True)[:missing]] += 1
    return whole


def refuse_unused_fraction(split: Split, part: Literal["validation", "test"], why: str) -> None:
    """The share of a part that nothing is split off for must be the usual one.

    Args:
        split: has the share.
        part: which is given.
        why: by whom, in words.

    Raises:
        UsageError: if it is not.

    >>> refuse_unused_fraction(Split(test=0.5), "test", "mnist has an official one")
    Traceback (most recent call last):
    danlu.errors.UsageError: --split.test does nothing, for no test part is split off: mnist has an official one; leave
    it out
    """
    if getattr(split, part) != getattr(Split(), part):
        raise UsageError(f"--split.{part} does nothing, for no {part} part is split off: {why}; leave it out")
