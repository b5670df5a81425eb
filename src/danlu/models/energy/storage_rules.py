r"""Couplings that store patterns: the Hebbian rule, the pseudo-inverse rule, and given couplings.

Each function returns couplings as whole numbers J and a unit u, :math:`W = u J`. Sums of whole numbers are exact in
float64 up to 2⁵³, so a field is the same number in whatever order it is summed up: if it is 0, it is exactly 0, and
fields that are kept during a recall do not drift.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

StorageName = Literal["hebbian", "pseudo-inverse"]
_PROJECTION_UNIT = 2.0**-30
"""unit of the pseudo-inverse rule; sums over all pairs of 40,000 units are exact"""
_INDEPENDENT = 1e-9
"""distance of a pattern from the span of the earlier ones, relative to its length, below which it is in the span"""


class ExactCouplings(NamedTuple):
    """Couplings as whole numbers and a unit: W = unit · weights."""

    weights: Float64[Tensor, "units units"]
    unit: float


def store_patterns(patterns: Float[Tensor, "count units"], rule: StorageName) -> ExactCouplings:
    """The couplings of a storage rule.

    Args:
        patterns: the patterns, values −1 and 1.
        rule: hebbian or pseudo-inverse.

    Raises:
        ValueError: as in ``pseudo_inverse``.
    """
    return hebbian(patterns) if rule == "hebbian" else pseudo_inverse(patterns)


def hebbian(patterns: Float[Tensor, "count units"]) -> ExactCouplings:
    r"""Hebb's rule, with zero diagonal:

    .. math:: W_{ij} = \frac 1 N \sum_\mu \xi_i^\mu \xi_j^\mu \quad (i \ne j)

    Hopfield, "Neural networks and physical systems with emergent collective computational abilities", 1982, equation 2.

    Args:
        patterns: the patterns ξ, values −1 and 1.

    >>> hebbian(torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]])).weights
    tensor([[ 0.,  0., -2.],
            [ 0.,  0.,  0.],
            [-2.,  0.,  0.]], dtype=torch.float64)
    """
    patterns = patterns.double()
    return ExactCouplings((patterns.T @ patterns).fill_diagonal_(0), 1 / patterns.shape[1])


def pseudo_inverse(patterns: Float[Tensor, "count units"]) -> ExactCouplings:
    r"""The projection on the span of the patterns, without its diagonal. Every pattern is a fixed point.

    .. math:: W = \Xi^+ \Xi, \quad W_{ii} := 0, \qquad \Xi \in \{-1, 1\}^{p \times N}

    The field of unit i in pattern μ is :math:`(1 - P_{ii}) \xi_i^\mu` with the projection P. Personnaz, Guyon and
    Dreyfus, "Information storage and retrieval in spin-glass like neural networks", 1985; Kanter and Sompolinsky,
    "Associative recall of memory without errors", 1987, for the diagonal. Couplings are rounded to multiples of 2⁻³⁰.

    Args:
        patterns: the patterns Ξ, values −1 and 1.

    Raises:
        ValueError: if there are more patterns than units, or a pattern is a linear combination of earlier ones.

    >>> patterns = torch.tensor([[1.0, 1.0, 1.0, -1.0], [1.0, -1.0, 1.0, 1.0]])
    >>> weights, unit = pseudo_inverse(patterns)
    >>> torch.equal((patterns.double() @ weights).sign(), patterns.double())
    True
    """
    count, units = patterns.shape
    if count > units:
        raise ValueError(
            f"storage 'pseudo-inverse' stores at most as many patterns as there are units, got {count} patterns of "
            f"{units} units; use fewer patterns, or storage='hebbian'"
        )
    basis, coefficients = torch.linalg.qr(patterns.double().T)
    if (dependent := (coefficients.diagonal().abs() < _INDEPENDENT * math.sqrt(units)).nonzero()).numel():
        raise ValueError(
            f"pattern {int(dependent[0])} of {count}, counted from 0, is a linear combination of the patterns before "
            f"it, for example a copy or its negative; storage 'pseudo-inverse' needs linearly independent patterns: "
            f"leave it out, or use storage='hebbian'"
        )
    projection = basis @ basis.T
    return _rounded((projection + projection.T) / 2, _PROJECTION_UNIT)


def exact_couplings(couplings: Float[Tensor, "units units"]) -> ExactCouplings:
    """Given couplings, rounded to multiples of a unit that is as small as exact sums allow.

    Args:
        couplings: W.

    Raises:
        ValueError: if they are not symmetric, have a diagonal, or are not finite.

    >>> exact_couplings(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    Traceback (most recent call last):
    ValueError: couplings must be symmetric, got 1 at (0, 1) and -1 at (1, 0); use (W + W.T) / 2
    """
    check_couplings(couplings)
    couplings, units = couplings.double(), len(couplings)
    whole = (couplings * units).round()
    if (whole / units - couplings).abs().max() <= 1e-12 * couplings.abs().max():  # as those of the Hebbian rule
        return ExactCouplings(whole, 1 / units)
    largest_sum = units * float(couplings.abs().sum(1).max())
    return _rounded(couplings, 2.0 ** (math.floor(math.log2(largest_sum)) - 51))


def check_couplings(couplings: Float[Tensor, "..."]) -> None:
    """Check that couplings are a symmetric matrix with zero diagonal: otherwise a recall may not end.

    Raises:
        ValueError: if they are not; the message has the first wrong place.
    """
    if couplings.dim() != 2 or couplings.shape[0] != couplings.shape[1]:
        raise ValueError(f"couplings must be a square matrix, got the shape {tuple(couplings.shape)}")
    if not couplings.isfinite().all():
        i, j = (~couplings.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"couplings must be finite, got {float(couplings[i, j])} at ({i}, {j})")
    if (unequal := (couplings != couplings.T).nonzero()).numel():
        i, j = unequal[0].tolist()
        a, b = float(couplings[i, j]), float(couplings[j, i])
        raise ValueError(
            f"couplings must be symmetric, got {a:g} at ({i}, {j}) and {b:g} at ({j}, {i}); use (W + W.T) / 2"
        )
    if (own := couplings.diagonal().nonzero()).numel():
        i = int(own[0])
        raise ValueError(
            f"couplings must have a zero diagonal, got {float(couplings[i, i]):g} at ({i}, {i}); use "
            f"W.fill_diagonal_(0)"
        )


def _rounded(couplings: Float64[Tensor, "units units"], unit: float) -> ExactCouplings:
    return ExactCouplings((couplings / unit).round_().fill_diagonal_(0), unit)
