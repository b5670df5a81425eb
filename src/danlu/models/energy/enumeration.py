"""Sums over all states of a few binary units."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Float64
from torch import Tensor

LARGEST = 16
"""largest number of units whose states are enumerated by default"""
ROWS = 4096
"""number of states in a pass"""


def all_states(
    units: int, values: tuple[float, float] = (0.0, 1.0), like: Tensor | None = None
) -> Iterator[Float[Tensor, "rows units"]]:
    """All 2^units states in passes; the first unit changes slowest.

    Args:
        units: number of units.
        values: the two values of a unit.
        like: a tensor with the device and the data type of the states; the default ones without it.

    >>> torch.cat(list(all_states(2))).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    device, dtype = (None, None) if like is None else (like.device, like.dtype)
    low, high = values
    places = torch.arange(units - 1, -1, -1, device=device)
    for start in range(0, 2**units, ROWS):
        numbers = torch.arange(start, min(start + ROWS, 2**units), device=device)
        bits = (numbers[:, None] >> places) & 1
        yield torch.where(bits.bool(), high, low).to(dtype or torch.get_default_dtype())


def log_sum_over_states(
    log_weight: Callable[[Tensor], Tensor],
    units: int,
    values: tuple[float, float] = (0.0, 1.0),
    like: Tensor | None = None,
) -> Float64[Tensor, ""]:
    """The logarithm of the sum of a positive function over all states of binary units, in float64.

    Args:
        log_weight: function of states (rows, units) to the logarithm of the function, (rows,). It may have gradients.
        units: number of units.
        values: the two values of a unit.
        like: as for ``all_states``.

    >>> log_sum_over_states(lambda s: s.sum(1), 3).exp().round()  # (1 + e)³
    tensor(51., dtype=torch.float64)
    """
    return torch.stack(
        [log_weight(states).double().logsumexp(0) for states in all_states(units, values, like)]
    ).logsumexp(0)
