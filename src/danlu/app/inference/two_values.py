"""Inputs of models that take only two values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from danlu.app.files.inputs import Input
from danlu.data.base.dataset import DataInfo
from danlu.errors import UsageError
from danlu.verbs import has

Display = Callable[[str], str]


def suited(one: Input, model: Any, display: Display, known: Bool[Tensor, "n ..."] | None = None) -> Input:
    """An input with the two values of the model; for a model that takes other values, the input as it is.

    Args:
        one: the input.
        model: the model, with its ``info``.
        display: replaces the path of standard input by its name.
        known: which values are checked in rows; by default all.

    Raises:
        UsageError: as ``with_two_values``.
    """
    return with_two_values(one, model.binary_values, model.info, display, known) if has(model, "binary_values") else one


def with_two_values(
    one: Input,
    values: tuple[float, float],
    info: DataInfo,
    display: Display,
    known: Bool[Tensor, "n ..."] | None = None,
) -> Input:
    """An input with two values: images become black and white at the middle of the gray values, and rows must have
    these values.

    Args:
        one: the input; one with an error is returned as it is.
        values: the two values, in increasing order.
        info: the examples of the model.
        display: replaces the path of standard input by its name.
        known: which values are checked in rows; by default all.

    Raises:
        UsageError: if a value of a row is another one; the message has its row and column.

    >>> from danlu.data.images.info import ImageInfo
    >>> gray = Input(["x.png"], torch.tensor([[[[0.2, 0.5]]]]))
    >>> with_two_values(gray, (0.0, 1.0), ImageInfo((1, 1, 2)), str).x
    tensor([[[[0., 1.]]]])
    """
    if one.x is None:
        return one
    x, (low, high) = one.x, values
    if info.image_size is not None:
        return one._replace(x=at_middle(x, values, info))
    wrong = (x != low) & (x != high)
    wrong = wrong if known is None else wrong & known
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        name = repr(info.channel_names[column]) if info.channel_names else str(column)
        raise UsageError(
            f"{display(one.names[row])}: column {name} has the value {float(x[row, column]):g}; this model takes rows "
            f"of {low:g} and {high:g}"
        )
    return one


def at_middle(x: Tensor, values: tuple[float, float], info: DataInfo) -> Tensor:
    """The larger of two values where x is at least the middle of the range of the data, else the smaller one.

    Args:
        x: the examples.
        values: the two values.
        info: the description of the examples.
    """
    low, high = values
    return torch.where(x >= sum(info.range) / 2, torch.full_like(x, high), torch.full_like(x, low))
