"""Filling in what is missing of an example by passing it through an autoencoder again and again."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def fill_in(x: Tensor, there: Tensor, passed: Callable[[Tensor], Tensor], rounds: int) -> Tensor:
    """Examples with what comes out of a model in place of what is missing, which is 0 at first.

    Rezende, Mohamed and Wierstra, "Stochastic backpropagation and approximate inference in deep generative models",
    2014, section 6.5, with means in place of draws.

    Args:
        x: the examples; what is missing may be anything.
        there: true where the value is there, in the shape of x.
        passed: what becomes of examples that pass through the model.
        rounds: how often they do.

    >>> fill_in(torch.tensor([[1.0, 9.0]]), torch.tensor([[True, False]]), lambda x: x + 1, rounds=3)
    tensor([[1., 3.]])
    """
    filled = torch.where(there, x, torch.zeros_like(x))
    for _ in range(rounds):
        filled = torch.where(there, x, passed(filled))
    return filled


def checked_mask(x: Tensor, mask: Tensor) -> Tensor:
    """True where a value is there, in the shape of the examples.

    Args:
        x: the examples.
        mask: 1 where the value is there and 0 where it is missing, in the shape of x or what broadcasts to it.

    Raises:
        ValueError: if the mask does not fit the examples, or holds anything but 0 and 1.

    >>> checked_mask(torch.zeros(2, 3), torch.tensor([1, 0, 1]))[0]
    tensor([ True, False,  True])
    """
    try:
        mask = mask.expand(x.shape)
    except RuntimeError:
        raise ValueError(f"a mask of {tuple(mask.shape)} does not fit examples of {tuple(x.shape)}") from None
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("a mask is 1 where a value is there and 0 where it is missing, and this one has others")
    return mask.bool()
