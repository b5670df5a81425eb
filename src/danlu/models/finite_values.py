"""The check that examples are finite, for verbs that get examples from outside of a data set."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch._C._functorch import get_unwrapped, is_batchedtensor, is_functorch_wrapped_tensor


def finite_extremes(model: nn.Module, x: Tensor) -> tuple[float, float] | None:
    """The smallest and the largest value of examples, which must be finite.

    The values are read, and a GPU is synchronized by this. So they are not read on a GPU in training mode, and not if
    they have a gradient: then another model computes them, and the training checks its own losses.

    Args:
        model: the model that gets the examples.
        x: the examples, (n, ...).

    Returns:
        Both values, or None if there are no values or they are not read.

    Raises:
        ValueError: if a value is NaN or infinite; the message has the number of the first such example.

    >>> finite_extremes(nn.Identity(), torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
    (0.0, 3.0)
    >>> finite_extremes(nn.Identity(), torch.tensor([[1.0], [torch.nan]]))
    Traceback (most recent call last):
    ValueError: example 1 of 2, counted from 0, has a value that is NaN or infinite; all values must be finite
    """
    in_training = x.requires_grad or (model.training and x.device.type != "cpu")
    if torch.compiler.is_compiling() or in_training or not x.numel() or x.is_meta:
        return None
    if _is_batched(x):
        return None
    low, high = (value.item() for value in x.detach().aminmax())  # both are NaN if a value is
    if not (math.isfinite(low) and math.isfinite(high)):
        first = int((~x.flatten(1).isfinite().all(1)).int().argmax())
        raise ValueError(
            f"example {first} of {len(x)}, counted from 0, has a value that is NaN or infinite; all values must be "
            f"finite"
        )
    return low, high


def _is_batched(x: Tensor) -> bool:
    """Whether ``torch.func.vmap`` adds a dimension to x, also around other transforms: no single value can be read."""
    while is_functorch_wrapped_tensor(x):
        if is_batchedtensor(x):
            return True
        x = get_unwrapped(x)
    return False
