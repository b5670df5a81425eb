"""Cutting one set of examples into parts that share none."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from danlu.data.source import Split
from danlu.sampling.randomness import generator


def shares_of(split: Split) -> tuple[float, float, float]:
    """The shares of the three parts: train, validation, test.

    >>> shares_of(Split(validation=0.25, test=0.25))
    (0.5, 0.25, 0.25)
    """
    return 1 - split.validation - split.test, split.validation, split.test


def stratified_split(
    labels: Int[Tensor, "n"], shares: tuple[float, ...], seed: int = 0
) -> tuple[Int[Tensor, "..."], ...]:
    """Numbers of the examples of each part; every class is shared out alike, up to one example.

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
    """
    if abs(sum(shares) - 1) > 1e-9 or min(shares) < 0:
        raise ValueError(f"shares={shares} must be at least 0 and sum to 1, and sum to {sum(shares)}")
    parts: list[list[Tensor]] = [[] for _ in shares]
    ends = torch.tensor(shares, dtype=torch.float64).cumsum(0)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator("split", seed, int(label)))]
        cuts = (ends * len(members)).round().long().tolist()
        for part, start, stop in zip(parts, [0, *cuts[:-1]], cuts, strict=True):
            part.append(members[start:stop])
    return tuple(torch.cat(part).sort().values for part in parts)
