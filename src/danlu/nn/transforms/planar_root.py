"""The scalar equation of a planar layer from data to latents, solved by Newton's method."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_MAX_STEPS, _UNCHECKED_STEPS = 100, 2
"""Limits of Newton's method. Almost no batch converges in the first steps, so there is no check after them."""
_FIXED_STEPS = 12
"""Number of steps without a check. From slopes of 1e-6 to 1e8, at most 8 are needed in float64."""


def planar_root(r: Float[Tensor, "*n"], s: float | Float[Tensor, ""]) -> Float[Tensor, "*n"]:
    r"""The root a of :math:`a + (s - 1) \tanh a = r`, up to the rounding of a and r in this equation.

    The left side is odd and, for s > 0, increasing. For a > 0 it is concave if s > 1, and convex if s < 1. Newton's
    steps from a lower bound of the root in the first case, and from an upper bound in the second, stay on their side of
    it: the sequence is monotone, and converges from everywhere.

    Args:
        r: the right side.
        s: the slope at 0, greater than 0.

    >>> a = planar_root(torch.tensor([-5.0, 0.0, 0.1]), s=0.001)
    >>> a - 0.999 * a.tanh()
    tensor([-5.0000,  0.0000,  0.1000])
    """
    s = float(s)
    m, c, slope = r.abs(), s - 1, r.new_tensor(s)
    a = _lower_bound(m, c) if c > 0 else _upper_bound(m, s)
    tolerance = torch.finfo(r.dtype).eps ** 0.5  # the relative error of a step is at most the square of the last change
    for number in range(_MAX_STEPS):
        t = a.tanh()
        step = torch.add(a, t, alpha=c).sub_(m).div_(torch.addcmul(slope, t, t, value=-c))
        a = a - step
        if number >= _UNCHECKED_STEPS and not (step.abs_() > tolerance * a).any():  # also for NaN
            break
    return a.copysign_(r)


def planar_root_of_tensors(r: Float[Tensor, "*n"], s: Float[Tensor, ""]) -> Float[Tensor, "*n"]:
    """``planar_root`` without a decision by values and in a fixed number of steps, for ``torch.func`` and exports.

    Args:
        r: the right side.
        s: the slope at 0, greater than 0.

    >>> r, s = torch.tensor([-5.0, 0.1]), torch.tensor([0.001, 3.0])
    >>> a = torch.func.vmap(planar_root_of_tensors)(r, s)
    >>> a + (s - 1) * a.tanh()
    tensor([-5.0000,  0.1000])
    """
    m = r.abs()
    first = m + (1 - s)
    upper, cube = torch.minimum(first, m / s), m * (15 + 6 * first * first) / (5 * (1 - s).clamp(min=0.5))
    # clamped, because the cube root has no derivative at 0
    nearer = torch.minimum(upper, cube.clamp(min=torch.finfo(r.dtype).tiny) ** (1 / 3))
    a = torch.where(s > 1, torch.maximum(first, m / s), torch.where(s < 0.5, nearer, upper))
    for _ in range(_FIXED_STEPS):
        t = a.tanh()
        a = a - (a + (s - 1) * t - m) / (s + (1 - s) * t * t)
    return a.copysign(r)


def _lower_bound(m: Tensor, c: float) -> Tensor:
    """From tanh a ≤ 1 and tanh a ≤ a."""
    return torch.maximum(m - c, m * (1 / (1 + c)))


def _upper_bound(m: Tensor, s: float) -> Tensor:
    """From tanh a ≤ 1, tanh a ≤ a, and the third convergent of its continued fraction, a (15 + a²) / (15 + 6 a²).

    The last one gives the cube root that the solution of a − tanh a = m is near 0.
    """
    first = m + (1 - s)
    bound = torch.minimum(first, m / s)
    if s < 0.5:
        cube = m * (15 + 6 * first * first) / (5 * (1 - s))
        bound = torch.minimum(bound, cube ** (1 / 3))
    return bound
