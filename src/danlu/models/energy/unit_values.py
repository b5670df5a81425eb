"""Checks of the values of visible units."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def check_binary(x: Float[Tensor, "n *shape"], what: str = "example") -> None:
    """Check that all values are 0 or 1.

    Args:
        x: the examples. They are not checked in compiled code, or without values (on the device meta).
        what: the name of an example in the message.

    Raises:
        ValueError: if a value is another number or NaN; the message has the first such value and its place.

    >>> check_binary(torch.tensor([[1.0, 0.0], [1.0, 0.5]]))
    Traceback (most recent call last):
    ValueError: example 1 of 2, counted from 0, has the value 0.5 at 1; all values must be 0 or 1. For images with
    values from 0 to 1, use (x >= 0.5).float()
    """
    _refuse(x, (x != 0) & (x != 1), what, "all values must be 0 or 1. For images with values from 0 to 1, use "
            "(x >= 0.5).float()")  # fmt: skip


def check_probabilities(x: Float[Tensor, "n *shape"], what: str = "example") -> None:
    """Check that all values are from 0 to 1.

    Args:
        x: the examples, as for ``check_binary``.
        what: the name of an example in the message.

    Raises:
        ValueError: if a value is NaN or out of range.

    >>> check_probabilities(torch.tensor([[0.5, 1.5]]))
    Traceback (most recent call last):
    ValueError: example 0 of 1, counted from 0, has the value 1.5 at 1; all values must be from 0 to 1
    """
    _refuse(x, ~((x >= 0) & (x <= 1)), what, "all values must be from 0 to 1")


def check_range(x: Float[Tensor, "n *shape"], low: float, high: float, tolerance: float = 0.0) -> None:
    """Check that all values are in a range.

    Args:
        x: the examples, as for ``check_binary``.
        low: the smallest value.
        high: the largest value.
        tolerance: how far rounding may lead out of the range.

    Raises:
        ValueError: if a value is NaN or out of range.

    >>> check_range(torch.tensor([[0.5, 255.0]]), 0.0, 1.0)
    Traceback (most recent call last):
    ValueError: example 0 of 1, counted from 0, has the value 255 at 1; all values must be from 0 to 1
    """
    inside = (x >= low - tolerance) & (x <= high + tolerance)
    _refuse(x, ~inside, "example", f"all values must be from {low:g} to {high:g}")


def check_finite(x: Float[Tensor, "n *shape"], what: str = "example") -> None:
    """Check that all values are finite.

    Args:
        x: the examples, as for ``check_binary``.
        what: the name of an example in the message.

    Raises:
        ValueError: if a value is NaN or infinite.

    >>> check_finite(torch.tensor([[1.0, torch.nan]]))
    Traceback (most recent call last):
    ValueError: example 0 of 1, counted from 0, has the value nan at 1; all values must be finite
    """
    _refuse(x, ~x.isfinite(), what, "all values must be finite")


def check_shape(x: Tensor, shape: Sequence[int], what: str = "example") -> None:
    """Check the shape of each example.

    Args:
        x: the examples, (n, \\*shape).
        shape: the shape of one.
        what: the name of an example in the message.

    Raises:
        ValueError: if it is another one.

    >>> check_shape(torch.zeros(5, 3), (2, 2))
    Traceback (most recent call last):
    ValueError: examples must have the shape (n, 2, 2), got (5, 3)
    """
    if tuple(x.shape[1:]) != tuple(shape):
        raise ValueError(f"{what}s must have the shape (n, {', '.join(map(str, shape))}), got {tuple(x.shape)}")


def check_example_shape(shape: Sequence[int]) -> None:
    """Check the shape of an example that a model is made for.

    Args:
        shape: the shape.

    Raises:
        ValueError: if it has no sizes, or one is not an integer >= 1.

    >>> check_example_shape(())
    Traceback (most recent call last):
    ValueError: shape=() must be one or more integers >= 1, for example (2,) or (1, 28, 28)
    """
    if not len(shape) or any(not isinstance(size, int) or size < 1 for size in shape):
        raise ValueError(f"shape={tuple(shape)} must be one or more integers >= 1, for example (2,) or (1, 28, 28)")


def kept(mask: Tensor, x: Tensor) -> Bool[Tensor, "n *shape"]:
    """Which values of the examples a mask keeps.

    Args:
        mask: 1 for values that are kept, 0 for missing ones; it broadcasts with x.
        x: the examples.

    Raises:
        ValueError: if the mask does not broadcast with x.

    >>> kept(torch.tensor([1.0, 0.0]), torch.zeros(1, 2))
    tensor([[ True, False]])
    """
    try:
        return mask.expand_as(x).bool()
    except RuntimeError:
        shapes = f"mask {tuple(mask.shape)}, examples {tuple(x.shape)}"
        raise ValueError(f"the mask must have the shape of the examples, or broadcast with it: {shapes}") from None


def _refuse(x: Tensor, wrong: Bool[Tensor, "n *shape"], what: str, rule: str) -> None:
    if torch.compiler.is_compiling() or x.is_meta or not x.numel() or not wrong.any():
        return
    number, *place = wrong.nonzero()[0].tolist()
    at = f"({', '.join(map(str, place))})" if len(place) > 1 else str(place[0]) if place else "its only place"
    value = float(x[(number, *place)])
    raise ValueError(f"{what} {number} of {len(x)}, counted from 0, has the value {value:g} at {at}; {rule}")
