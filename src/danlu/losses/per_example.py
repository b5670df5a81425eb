"""Terms with one value per example from a value of the whole batch or of the weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor


def per_example(value: Float[Tensor, "..."], n: int) -> Float[Tensor, "n"]:
    """The mean of a value, repeated for each of n examples: the mean over the examples is then this mean.

    >>> per_example(torch.tensor([1.0, 3.0]), 3)
    tensor([2., 2., 2.])
    """
    return value.mean().expand(n)


def l1_norm(weights: Iterable[Tensor]) -> Float[Tensor, ""]:
    r"""Sum of absolute values, :math:`\sum_j |w_j|`.

    >>> l1_norm([torch.tensor([1.0, -2.0])])
    tensor(3.)
    """
    return torch.stack([w.abs().sum() for w in weights]).sum()


def squared_l2_norm(weights: Iterable[Tensor]) -> Float[Tensor, ""]:
    r"""Half the sum of squares, :math:`\tfrac12 \sum_j w_j^2`; its gradient is w.

    >>> squared_l2_norm([torch.tensor([1.0, -2.0])])
    tensor(2.5000)
    """
    return torch.stack([w.square().sum() for w in weights]).sum() / 2
