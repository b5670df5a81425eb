"""Distances between all of one set and all of another, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

_ENTRIES = 1 << 23
"""distances that are in memory at once"""


def distances(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Iterator[tuple[slice, Float[Tensor, "some m"]]]:
    """Euclidean distances from some rows of a to all of b, and which rows.

    They come from products, |a|² - 2ab + |b|², after the mean of b is taken from both: quick, and right to a few digits
    fewer than the numbers have where two rows nearly coincide.

    Args:
        a: one set.
        b: the other.

    Raises:
        ValueError: if they differ in width, or one is empty.

    >>> [(rows, found) for rows, found in distances(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))]
    [(slice(0, 1, None), tensor([[5.]]))]
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"both sets must be (n, d) with the same d, and are {tuple(a.shape)} and {tuple(b.shape)}")
    if not len(a) or not len(b):
        raise ValueError(f"both sets must have rows, and they have {len(a)} and {len(b)}")
    return _distances(a, b)


def _distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    middle = b.mean(0)
    near = b - middle
    step = max(1, _ENTRIES // len(b))
    for start in range(0, len(a), step):
        rows = slice(start, min(start + step, len(a)))
        yield rows, torch.cdist(a[rows] - middle, near)
