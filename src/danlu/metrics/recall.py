"""How well patterns of −1 and 1 are recalled."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def overlaps(x: Float[Tensor, "n *shape"], patterns: Float[Tensor, "n *shape"]) -> Float[Tensor, "n"]:
    r"""The overlap of each state with its pattern, :math:`m = \frac 1 N \sum_i x_i \xi_i`: 1 if they are equal, 0 if
    half of the values differ.

    Args:
        x: the states.
        patterns: the pattern of each state, values −1 and 1.

    >>> import torch
    >>> overlaps(torch.tensor([[1.0, 1.0, -1.0, 1.0]]), torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
    tensor([0.5000])
    """
    return (x * patterns).flatten(1).mean(1)


def recalled(x: Float[Tensor, "n *shape"], patterns: Float[Tensor, "n *shape"]) -> Bool[Tensor, "n"]:
    """Whether the signs of all values of a state are those of its pattern.

    >>> import torch
    >>> recalled(torch.tensor([[0.9, -1.0], [0.0, -1.0]]), torch.tensor([[1.0, -1.0], [1.0, -1.0]]))
    tensor([ True, False])
    """
    return (x.sign() == patterns).flatten(1).all(1)
