"""Labels as a network takes them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def one_hot(labels: Int[Tensor, "n"], classes: int, like: Tensor) -> Float[Tensor, "n classes"]:
    """1 for the class of each example and 0 for the others, in the type of another tensor.

    Args:
        labels: class numbers.
        classes: how many classes there are.
        like: has as many rows as there are to be labels.

    Raises:
        ValueError: if there are not as many labels as examples, or one is of no class.

    >>> one_hot(torch.tensor([1, 0]), 3, torch.zeros(2, 5))
    tensor([[0., 1., 0.],
            [1., 0., 0.]])
    """
    if labels.shape != (len(like),):
        raise ValueError(f"labels of shape {tuple(labels.shape)} do not fit {len(like)} examples; give one for each")
    # on a GPU, which would have to be waited for, torch's own check raises later
    if labels.device.type == "cpu" and len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels from {int(labels.min())} to {int(labels.max())} are not all among {classes} classes")
    return F.one_hot(labels, classes).to(like.dtype)


def turn_by_turn(n: int, classes: int, device: torch.device) -> Int[Tensor, "n"]:
    """The classes one after the other, again and again.

    >>> turn_by_turn(5, 3, torch.device("cpu"))
    tensor([0, 1, 2, 0, 1])
    """
    return torch.arange(n, device=device) % classes
