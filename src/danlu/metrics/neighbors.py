"""Nearest neighbors by exact distances; the candidates are found with matrix products."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from danlu.metrics.distances import PairDistances


class Neighbors(NamedTuple):
    """The k nearest neighbors of each example, the nearest first.

    Attributes:
        squared: squared distances in float64, (n, k); NaN for an example that is not finite.
        indices: indices of the neighbors, (n, k); of equally near ones, the lowest index is first.
    """

    squared: Float[Tensor, "n k"]
    indices: Int[Tensor, "n k"]


def nearest_neighbors(
    a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], k: int = 1, exclude_self: bool = False
) -> Neighbors:
    """Find the k nearest rows of b for each row of a, by squared distances from differences in float64.

    Args:
        a: examples, (n, d).
        b: candidates, (m, d).
        k: number of neighbors.
        exclude_self: whether a and b are the same set, and an example is not its own neighbor.

    Raises:
        ValueError: if the widths differ, a set is empty, or there are fewer than k candidates.

    >>> nearest_neighbors(torch.tensor([[0.9]]), torch.tensor([[5.0], [1.0], [1.0]]), k=2).indices
    tensor([[1, 2]])
    """
    pairs = PairDistances(a, b)
    if not 1 <= k <= len(b) - exclude_self:
        raise ValueError(f"k={k} must be at least 1 and at most {len(b) - exclude_self}, the number of candidates")
    results = []
    for rows, bounds in pairs.blocks():
        if exclude_self:
            bounds.diagonal(rows.start).fill_(torch.inf)
        results.append(_neighbors_in_block(pairs, rows, bounds, k))
    return Neighbors(*(torch.cat(parts) for parts in zip(*results, strict=True)))


def _neighbors_in_block(pairs: PairDistances, rows: slice, bounds: Float[Tensor, "rows m"], k: int) -> Neighbors:
    """The neighbors of the rows of a block. A pair beyond the upper bounds of k likely neighbors cannot be one."""
    likely = bounds.argmin(1, keepdim=True) if k == 1 else bounds.topk(k, largest=False, sorted=False).indices
    limits = pairs.upper(rows, bounds, torch.arange(len(bounds), device=bounds.device)[:, None], likely).amax(1)
    i, j = (bounds <= limits[:, None]).nonzero(as_tuple=True)
    squared = pairs.exact(i + rows.start, j)
    counts = i.bincount(minlength=len(bounds))
    place = torch.arange(len(i), device=i.device) - (counts.cumsum(0) - counts)[i]  # within the pairs of its row
    shape = (len(bounds), max(k, int(counts.max())))
    table = squared.new_full(shape, torch.nan).index_put_((i, place), squared)  # sort puts NaN last
    columns = j.new_zeros(shape).index_put_((i, place), j)
    table, order = table.sort(dim=1, stable=True)
    return Neighbors(table[:, :k], columns.gather(1, order)[:, :k])
