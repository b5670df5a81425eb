"""The check that the values of examples are −1 and 1."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def check_signs(x: Float[Tensor, "n *shape"], what: str = "example") -> None:
    """Check that all values are −1 or 1.

    Args:
        x: the examples. They are not checked in compiled code, or without values (on the device meta).
        what: the name of an example in the message.

    Raises:
        ValueError: if a value is another number or NaN; the message has the first such value and its place.

    >>> check_signs(torch.tensor([[1.0, -1.0], [1.0, 0.5]]), "pattern")
    Traceback (most recent call last):
    ValueError: pattern 1 of 2, counted from 0, has the value 0.5 at 1; all values must be -1 or 1. For images with
    values from 0 to 1, use torch.where(x >= 0.5, 1.0, -1.0)
    """
    if torch.compiler.is_compiling() or x.is_meta or not x.numel():
        return
    wrong = x.abs() != 1  # also true for NaN
    if not wrong.any():
        return
    number, *place = wrong.nonzero()[0].tolist()
    at = f"({', '.join(map(str, place))})" if len(place) > 1 else str(place[0]) if place else "its only place"
    raise ValueError(
        f"{what} {number} of {len(x)}, counted from 0, has the value {float(x[(number, *place)]):g} at {at}; all "
        f"values must be -1 or 1. For images with values from 0 to 1, use torch.where(x >= 0.5, 1.0, -1.0)"
    )
