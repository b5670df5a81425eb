"""Inpainting: fill in missing values with repeated reconstructions by an autoencoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def fill_in(x: Tensor, observed: Tensor, reconstruct: Callable[[Tensor], Tensor], rounds: int) -> Tensor:
    """Replace missing values by reconstructions, starting with 0.

    Rezende, Mohamed and Wierstra, "Stochastic backpropagation and approximate inference in deep generative models",
    2014, section 6.5, with means instead of samples.

    Args:
        x: the examples; missing values may be arbitrary numbers.
        observed: true for given values, in the shape of x.
        reconstruct: function that reconstructs examples.
        rounds: number of reconstructions.

    >>> fill_in(torch.tensor([[1.0, 9.0]]), torch.tensor([[True, False]]), lambda x: x + 1, rounds=3)
    tensor([[1., 3.]])
    """
    filled = torch.where(observed, x, torch.zeros_like(x))
    for _ in range(rounds):
        filled = torch.where(observed, x, reconstruct(filled))
    return filled


def checked_mask(x: Tensor, mask: Tensor) -> Tensor:
    """Convert a mask to booleans in the shape of the examples, true for given values.

    Args:
        x: the examples, (n, *shape).
        mask: 1 for given and 0 for missing values, in the shape of x or a shape that broadcasts to it.

    Raises:
        ValueError: if the shape of the mask does not match the examples, or it has values other than 0 and 1.

    >>> checked_mask(torch.zeros(2, 3), torch.tensor([1, 0, 1]))[0]
    tensor([ True, False,  True])
    """
    try:
        mask = mask.expand(x.shape)
    except RuntimeError:
        raise ValueError(f"a mask of shape {tuple(mask.shape)} does not broadcast to {tuple(x.shape)}") from None
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("a mask must be 1 for given and 0 for missing values; it has other values")
    return mask.bool()
