"""One-hot labels."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def one_hot(labels: Int[Tensor, "n"], classes: int, like: Tensor) -> Float[Tensor, "n classes"]:
    """One-hot encoding of labels, in the dtype of another tensor.

    Args:
        labels: class indices.
        classes: number of classes.
        like: the examples: it gives the number of rows and the dtype.

    Raises:
        ValueError: if there are not as many labels as examples, or a label is not less than ``classes``.

    >>> one_hot(torch.tensor([1, 0]), 3, torch.zeros(2, 5))
    tensor([[0., 1., 0.],
            [1., 0., 0.]])
    """
    if labels.shape != (len(like),):
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not match {len(like)} examples; give one label for each"
        )
    # on a GPU this check would synchronize; there torch's own check raises later
    if labels.device.type == "cpu" and len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels from {int(labels.min())} to {int(labels.max())} must be from 0 to {classes - 1}")
    return F.one_hot(labels, classes).to(like.dtype)


def cycle_classes(n: int, classes: int, device: torch.device) -> Int[Tensor, "n"]:
    """Class indices 0, 1, …, classes - 1, repeated up to n labels.

    >>> cycle_classes(5, 3, torch.device("cpu"))
    tensor([0, 1, 2, 0, 1])
    """
    return torch.arange(n, device=device) % classes
