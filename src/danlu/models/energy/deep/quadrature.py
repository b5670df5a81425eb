"""The normalizer of a density of one or two real values, by the trapezoidal rule."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from danlu.models.energy.normalizer import LogNormalizer
from danlu.sampling.mcmc.importance import exact

REACH = 10.0
"""the grid reaches so many standard deviations of the base from the center"""
POINTS = (256, 512, 1024)
"""intervals of the grid in each dimension, one after the other until two of them agree"""
AGREE = 1e-3
"""largest difference in nats of two grids that agree, and largest part of Z near the edge of a grid"""
ROWS = 16_384
"""number of points in a pass"""


def grid_log_z(energy: Callable[[Tensor], Tensor], values: int, like: Tensor) -> LogNormalizer | None:
    """Log Z of a density whose scale is about 1, for grids that become finer until two of them agree.

    For smooth densities that vanish at the edge, the error of the trapezoidal rule falls exponentially with the number
    of points, so the difference of two grids is an upper estimate of the error of the finer one.

    Args:
        energy: function of points (n, values).
        values: number of values of a point, 1 or 2.
        like: a tensor with the device and the data type of the points.

    Returns:
        the estimate, whose standard error is that difference; None if no two grids agree, or the density at the edge
        contributes to Z.

    >>> result = grid_log_z(lambda x: x.square().sum(1) / 2, 2, torch.zeros(()))
    >>> abs(result.value - math.log(2 * math.pi)) < 1e-5
    True
    """
    before = None
    for points in POINTS:
        log_z, edge = _trapezoidal(energy, values, points, like)
        if not math.isfinite(log_z) or edge > AGREE:
            return None
        if before is not None and abs(log_z - before) < AGREE:
            return LogNormalizer(log_z, "estimate", abs(log_z - before), None, 0)
        before = log_z
    return None


def _trapezoidal(energy: Callable[[Tensor], Tensor], values: int, points: int, like: Tensor) -> tuple[float, float]:
    """Log Z on a grid, and the part of Z in its outer tenth. The density is 0 at the edge, where weights are halved."""
    axis = torch.linspace(-REACH, REACH, points + 1, device=like.device, dtype=like.dtype)
    grid = torch.cartesian_prod(*[axis] * values).view(-1, values)
    log_density = torch.cat([exact(-energy(part)) for part in grid.split(ROWS)])
    log_z = log_density.logsumexp(0)
    outer = grid.abs().amax(1) > 0.9 * REACH
    edge = (log_density[outer].logsumexp(0) - log_z).exp()
    return float(log_z) + values * math.log(2 * REACH / points), float(edge)
