"""Distances between all rows of two sets, computed in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

_ENTRIES = 1 << 23
"""Maximum number of distances in memory at a time."""


def distances(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Iterator[tuple[slice, Float[Tensor, "rows m"]]]:
    """Yield Euclidean distances from blocks of rows of a to all rows of b.

    They are computed from products, |a|² - 2ab + |b|², after subtracting the mean of b from both. This is fast, but
    loses a few digits where two rows nearly coincide.

    Args:
        a: one set, (n, d).
        b: the other set, (m, d).

    Yields:
        the rows of a block, and their distances to b, (rows, m).

    Raises:
        ValueError: if the widths differ or a set is empty.

    >>> [(rows, block) for rows, block in distances(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))]
    [(slice(0, 1, None), tensor([[5.]]))]
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"both sets must be (n, d) with the same d, got {tuple(a.shape)} and {tuple(b.shape)}")
    if not len(a) or not len(b):
        raise ValueError(f"both sets must have at least one row, got {len(a)} and {len(b)}")
    return _distances(a, b)


def _distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    center = b.mean(0)
    centered = b - center
    step = max(1, _ENTRIES // len(b))
    for start in range(0, len(a), step):
        rows = slice(start, min(start + step, len(a)))
        yield rows, torch.cdist(a[rows] - center, centered)
