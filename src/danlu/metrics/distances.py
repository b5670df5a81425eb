"""Distances between all rows of two sets, computed from matrix products in blocks; exact distances of single pairs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ENTRIES = 1 << 23
"""Maximum number of distances in memory at a time."""
_DIFFERENCES = 1 << 16
"""Maximum number of differences in memory at a time."""
_LARGEST = 1e30
"""Products of rows with larger squared norms could overflow in float32."""
_NEAR = 4
"""A distance is computed from differences if its square is below this many times its error bound."""


class PairDistances:
    r"""Squared Euclidean distances between the rows of two sets: fast lower bounds of all, exact values of some.

    Products give :math:`\lVert a \rVert^2 - 2 a^\top b + \lVert b \rVert^2` of all pairs fast, but with a rounding
    error that is large where two rows nearly coincide. A comparison of two distances is therefore made in two steps:
    the bounds select the pairs that can decide it, and ``exact`` computes these from differences in float64.

    The error bound is :math:`\epsilon \, (\lVert a \rVert^2 + \lVert b \rVert^2)` after the mean of b was subtracted
    from both sets, with :math:`\epsilon = (2 \min(d, 8 \sqrt d) + 32) u` for the unit roundoff u. With d it holds for
    every order of summation (Higham, "Accuracy and stability of numerical algorithms", 2002, section 3.1), with
    8√d except with probability :math:`2 e^{-32}` (Higham and Mary, "A new approach to probabilistic rounding error
    analysis", 2019, theorem 2.4).

    Args:
        a: one set, (n, d).
        b: the other set, (m, d).

    Attributes:
        error: the factor ε of the error bound.
        underflow: what is added to the error bound for each set.

    Raises:
        ValueError: if the widths differ or a set is empty.

    >>> pairs = PairDistances(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    >>> [(rows, bool((bounds <= torch.tensor([25.0, 0.0])).all())) for rows, bounds in pairs.blocks()]
    [(slice(0, 1, None), True)]
    >>> pairs.exact(torch.tensor([0]), torch.tensor([0]))
    tensor([25.], dtype=torch.float64)
    """

    def __init__(self, a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]):
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
            raise ValueError(f"both sets must be (n, d) with the same d, got {tuple(a.shape)} and {tuple(b.shape)}")
        if not len(a) or not len(b):
            raise ValueError(f"both sets must have at least one row, got {len(a)} and {len(b)}")
        self.a, self.b = a, b
        self._center(_dtype_of_products(a, b))
        if self._a.dtype == torch.float32 and not max(float(self.a_norms.max()), float(self.b_norms.max())) < _LARGEST:
            self._center(torch.float64)
        d, unit_roundoff = a.shape[1], torch.finfo(self._a.dtype).eps / 2
        self.error = (2 * min(d, 8 * d**0.5) + 32) * unit_roundoff
        self.underflow = 4 * d * torch.finfo(self._a.dtype).tiny  # squares below the smallest number become 0

    def _center(self, dtype: torch.dtype) -> None:
        center = self.b.mean(0, dtype=dtype)
        self._b = self.b.to(dtype) - center
        self._a = self._b if self.a is self.b else self.a.to(dtype) - center
        self.b_norms = self._b.square().sum(1, keepdim=True)
        self.a_norms = self.b_norms if self.a is self.b else self._a.square().sum(1, keepdim=True)

    def blocks(self) -> Iterator[tuple[slice, Float[Tensor, "rows m"]]]:
        """Yield blocks of rows of a, and lower bounds of their squared distances to all rows of b, (rows, m)."""
        # one product computes the whole sum: (-2a, |a|², 1) · (b, 1, |b|²)
        a_part, b_part = ((1 - self.error) * norms - self.underflow for norms in (self.a_norms, self.b_norms))
        left = torch.cat([-2 * self._a, a_part, torch.ones_like(a_part)], 1)
        right = torch.cat([self._b, torch.ones_like(b_part), b_part], 1)
        step = max(1, _ENTRIES // len(right))
        for start in range(0, len(left), step):
            rows = slice(start, min(start + step, len(left)))
            yield rows, left[rows] @ right.T

    def upper(self, rows: slice, bounds: Float[Tensor, "rows m"], i: Tensor, j: Tensor) -> Tensor:
        """Upper bounds of the squared distances of pairs of a block, in the shape of i and j.

        Args:
            rows: the rows of the block.
            bounds: the lower bounds of the block.
            i: index of the row within the block of each pair.
            j: index of the row of b of each pair.
        """
        return bounds[i, j] + 2 * (self.error * (self.a_norms[rows][i, 0] + self.b_norms[j, 0]) + 2 * self.underflow)

    def exact(self, i: Int[Tensor, "pairs"], j: Int[Tensor, "pairs"]) -> Float[Tensor, "pairs"]:
        """The squared distances of pairs of rows, from differences in float64.

        Args:
            i: index of the row of a of each pair, (pairs,).
            j: index of the row of b of each pair, (pairs,).
        """
        result = torch.empty(len(i), dtype=torch.float64, device=i.device)
        step = max(1, _DIFFERENCES // self.a.shape[1])
        for start in range(0, len(i), step):
            part = slice(start, start + step)
            differences = self.a[i[part]].double() - self.b[j[part]].double()
            torch.sum(differences.square_(), 1, out=result[part])
        return result

    def within(
        self, rows: slice, bounds: Float[Tensor, "rows m"], squared_radii: Float[Tensor, "#rows #m"]
    ) -> tuple[Int[Tensor, "pairs"], Int[Tensor, "pairs"]]:
        """The pairs of a block whose squared distance is at most a squared radius.

        Args:
            rows: the rows of the block.
            bounds: the lower bounds of the block.
            squared_radii: squared radius of each pair in float64, a shape that broadcasts to (rows, m).

        Returns:
            the index of the row within the block and the index of the row of b of each pair.
        """
        i, j = (bounds <= squared_radii.to(bounds.dtype)).nonzero(as_tuple=True)
        radii = squared_radii.expand(bounds.shape)[i, j]
        inside = self.upper(rows, bounds, i, j) <= radii
        doubtful = (~inside).nonzero()[:, 0]
        inside[doubtful] = self.exact(i[doubtful] + rows.start, j[doubtful]) <= radii[doubtful]
        return i[inside], j[inside]


def distances(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Iterator[tuple[slice, Float[Tensor, "rows m"]]]:
    """Yield Euclidean distances from blocks of rows of a to all rows of b.

    They are computed from products; distances of rows that nearly coincide are computed from differences, so two equal
    rows have the distance 0. For comparisons of distances use ``danlu.metrics.neighbors``, which decides ties exactly.

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
    return _distances(PairDistances(a, b), a.dtype)


def _distances(pairs: PairDistances, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    for rows, bounds in pairs.blocks():
        margin = pairs.error * (pairs.a_norms[rows] + pairs.b_norms.T)
        squares = bounds.add_(margin)
        i, j = (squares <= margin.mul_(_NEAR)).nonzero(as_tuple=True)
        squares[i, j] = pairs.exact(i + rows.start, j).to(squares.dtype)
        yield rows, squares.sqrt_().to(dtype)


def _dtype_of_products(a: Tensor, b: Tensor) -> torch.dtype:
    """float64 for float64, or if products of float32 are allowed to have less precision; else float32."""
    reduced = torch.get_float32_matmul_precision() != "highest"
    return torch.float64 if reduced or torch.float64 in (a.dtype, b.dtype) else torch.float32
